"""The limits of workspaces and keys, a part of `shared.settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings

from shared.setting_types import STRICT


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
