"""The limits of workspaces and keys, a part of `shared.settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.setting_types import STRICT, NumberTable


class LimitSettings(BaseSettings):
    """What one workspace, or one API key, may ask of the service."""

    model_config = STRICT

    max_open_jobs: int = Field(500, ge=1, description="Unfinished jobs that a workspace may have.")
    max_running_jobs: int | None = Field(
        None, ge=1, description="Jobs that a workspace may run at once; empty for any number."
    )
    max_submissions_per_minute: int | None = Field(
        None, ge=1, description="Jobs that a workspace may submit a minute; empty for any number."
    )
    max_cost_per_day: int | None = Field(
        None,
        ge=0,
        description="Micro-dollars that a workspace may spend on a day (UTC); empty for any sum.",
    )
    max_cost_per_month: int | None = Field(
        None,
        ge=0,
        description="Micro-dollars that a workspace may spend in a month (UTC); empty for any sum.",
    )
    max_provider_calls: NumberTable = Field(
        {},
        description="Jobs of a provider that are under way at once, in both runtimes together. "
        'JSON: numbers by provider, as in `{"openai": 4}`.',
    )
    max_provider_calls_per_minute: NumberTable = Field(
        {},
        description="Attempts with a provider that begin within a minute, likewise.",
    )
    max_streams: int = Field(
        1_000, ge=1, description="Open event streams, and requests that wait, of a workspace."
    )
    max_assets: int | None = Field(
        None, ge=1, description="Uploaded pictures that a workspace may keep; empty for any number."
    )
    auto_create: bool = Field(
        False,
        description="Make the workspace, user or product that a job names first, instead of "
        "refusing the job. Keys make users and products of their own workspace.",
    )
    max_requests_per_minute: int | None = Field(
        None, ge=1, description="Requests that an API key may send a minute; empty for any number."
    )

    @property
    def budget(self) -> tuple[int | None, int | None]:
        """What a workspace may spend on a day and in a month, in micro-dollars; None: any sum."""
        return self.max_cost_per_day, self.max_cost_per_month

    @property
    def provider_limits(self) -> dict[str, dict[str, int]]:
        """The limits of each provider that has any: `calls` at once, and `a_minute`."""
        tables = {"calls": self.max_provider_calls, "a_minute": self.max_provider_calls_per_minute}
        names = {name for table in tables.values() for name in table}
        return {
            name: {kind: table[name] for kind, table in tables.items() if name in table}
            for name in sorted(names)
        }
