"""What workspaces may submit and run: limits of their own, pauses, and what is left of a quota.

Written by `darkroom limits`, `pause` and `resume`; the statements that accept and release jobs read
the rows each time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, exc

from shared.database.statements import Statements
from shared.errors import InvalidRequest

WINDOW_SECONDS = 60

LIMITS = ("open_jobs", "running_jobs", "submissions_per_minute", "models")
"""What `LimitStore.set` changes."""


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """What a workspace without limits of its own may submit.

    Attributes:
        open_jobs: Jobs that may wait or run.
        submissions_per_minute: None for any number.
    """

    open_jobs: int
    submissions_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a limit after a request.

    Attributes:
        policy: `open-jobs` or `submissions`.
        window_seconds: The time that the limit is for; None for one that is not about time.
        reset_seconds: Until all of the limit may be used again.
    """

    policy: str
    limit: int
    remaining: int
    window_seconds: int | None = None
    reset_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """The limits of a workspace; None stands for the default of the settings.

    Attributes:
        models: Those that its requests may name; None for all.
    """

    workspace_id: str
    open_jobs: int | None
    running_jobs: int | None
    submissions_per_minute: int | None
    models: Sequence[str] | None
    paused_at: datetime | None


class LimitStore:
    """Reads and writes the limits of workspaces, and pauses.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    def list(self, workspace_id: str | None = None) -> Sequence[OwnLimits]:
        """Return the limits of one workspace, or of all that have any or are paused."""
        return self._list(workspace_id=workspace_id, is_paused=False, limit=None)

    def list_paused(self, limit: int) -> Sequence[OwnLimits]:
        """Return the limits of workspaces that are paused."""
        return self._list(workspace_id=None, is_paused=True, limit=limit)

    def _list(self, **filters: Any) -> Sequence[OwnLimits]:
        return [OwnLimits(**row._mapping) for row in self._run("list_limits", filters)]

    def find_models(self, workspace_id: str) -> Sequence[str] | None:
        """Return the models that requests of a workspace may name; None for all."""
        found = self.list(workspace_id)
        return found[0].models if found else None

    def set(self, workspace_id: str, changes: Mapping[str, object]) -> OwnLimits:
        """Change limits by their names; None brings back the default of the settings.

        Raises:
            InvalidRequest: The workspace does not exist.
        """
        parameters: dict[str, Any] = {"workspace_id": workspace_id}
        for name in LIMITS:
            parameters[name] = changes.get(name)
            parameters[f"changes_{name}"] = name in changes
        return self._write("set_limits", parameters)

    def pause(self, workspace_id: str) -> OwnLimits:
        """Let the waiting jobs of a workspace wait until it is resumed.

        Raises:
            InvalidRequest: The workspace does not exist.
        """
        return self._write("pause_workspace", {"workspace_id": workspace_id})

    def resume(self, workspace_id: str) -> bool:
        """End the pause of a workspace; False if it is not paused."""
        return bool(self._run("resume_workspace", {"workspace_id": workspace_id}))

    def paused_providers(self) -> dict[str, datetime]:
        """Return the providers that are paused, and since when."""
        return {row.provider: row.paused_at for row in self._run("list_paused_providers", {})}

    def pause_provider(self, provider: str) -> None:
        """Let all jobs wait that need the provider, until it is resumed."""
        self._run("pause_provider", {"provider": provider})

    def resume_provider(self, provider: str) -> bool:
        """End the pause of a provider; False if it is not paused."""
        return bool(self._run("resume_provider", {"provider": provider}))

    def _write(self, statement: str, parameters: Mapping[str, Any]) -> OwnLimits:
        try:
            [row] = self._run(statement, parameters)
        except exc.IntegrityError as error:
            workspace_id = parameters["workspace_id"]
            raise InvalidRequest(f"workspace: no workspace {workspace_id!r}") from error
        return OwnLimits(**row._mapping)


def quotas_of(row: Any) -> tuple[Quota, ...]:
    """Read what is left of the limits out of the row that accepted a job."""
    quotas = []
    if row.open_limit is not None:
        left = max(row.open_limit - row.open_jobs - 1, 0)
        quotas.append(Quota("open-jobs", row.open_limit, left))
    if row.submission_limit is not None:
        quotas.append(
            Quota(
                "submissions",
                row.submission_limit,
                max(row.submission_limit - (row.submissions or row.submission_limit), 0),
                WINDOW_SECONDS,
                seconds_to_reset(row),
            )
        )
    return tuple(quotas)


def seconds_to_reset(row: Any) -> int:
    """Return the whole seconds until the window of submissions ends."""
    return max(1, math.ceil(row.window_seconds or WINDOW_SECONDS))
