"""What workspaces may submit and run: limits of their own, pauses, and what is left of a quota.

Written by `darkroom limits`, `pause` and `resume`; the statements that accept and release jobs read
the rows each time.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, exc

from shared.database.statements import Statements
from shared.errors import (
    BudgetExceeded,
    InvalidRequest,
    LimitReached,
    MonthBudgetExceeded,
    TooManyOpenJobs,
    TooManySubmissions,
)

WINDOW_SECONDS = 60

RETRY_AFTER_SECONDS = 5
"""Within which some job of a workspace may end."""

LIMITS = (
    *("open_jobs", "running_jobs", "submissions_per_minute"),
    *("cost_per_day", "cost_per_month", "models"),
)
"""What `LimitStore.set` changes."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a workspace without a budget of its own may spend, in micro-dollars, in UTC.

    None stands for any sum.
    """

    cost_per_day: int | None = None
    cost_per_month: int | None = None


UNLIMITED = Budget()


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """What a workspace without limits of its own may submit.

    Attributes:
        open_jobs: Jobs that may wait or run.
        submissions_per_minute: None for any number.
        budget: What its jobs may cost.
    """

    open_jobs: int
    submissions_per_minute: int | None = None
    budget: Budget = UNLIMITED

    def as_parameters(self) -> dict[str, Any]:
        """Return the parameters of the statement that accepts jobs."""
        return {
            "open_jobs": self.open_jobs,
            "submissions_per_minute": self.submissions_per_minute,
            **asdict(self.budget),
        }


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a limit after a request.

    Attributes:
        policy: `open-jobs`, `submissions`, `cost-per-day` or `cost-per-month`.
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
    open_jobs: int | None = None
    running_jobs: int | None = None
    submissions_per_minute: int | None = None
    cost_per_day: int | None = None
    cost_per_month: int | None = None
    models: Sequence[str] | None = None
    paused_at: datetime | None = None


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
    """Read what is left of the limits out of the row that accepted a job, or that quotes one."""
    quotas = []
    for kind, limit, used, needed, seconds in _limits_of(row, row.quoted_microdollars or 0):
        if limit is not None:
            left = max(limit - used - (0 if row.id is None else needed), 0)
            window = kind.window_seconds
            quotas.append(Quota(kind.policy, limit, left, window, window and _whole(seconds)))
    return tuple(quotas)


def find_refusal(row: Any, new: Mapping[str, Any]) -> LimitReached | None:
    """Return the limit that is reached, out of the row that did not accept a new job.

    Raises:
        InvalidRequest: The workspace may not ask for the model, or has a budget while it is not
            known what the job costs.
    """
    if not row.is_allowed:
        workspace_id, models = new["workspace_id"], ", ".join(row.models) or "none"
        raise InvalidRequest(f"model: workspace {workspace_id!r} may ask for {models}")
    for kind, limit, used, needed, seconds in _limits_of(row, new["quoted_microdollars"]):
        if limit is not None and needed is None:
            raise InvalidRequest("model: there is a budget, and the price is not known here")
        if limit is not None and used + needed > limit:
            return kind(limit, _whole(seconds))
    return None


def _limits_of(row: Any, cost: int | None) -> Iterator[tuple[type[LimitReached], *tuple[Any, ...]]]:
    """Yield each limit, what is used of it, what a job needs, and the seconds until it is back."""
    yield TooManyOpenJobs, row.open_limit, row.open_jobs, 1, RETRY_AFTER_SECONDS
    yield TooManySubmissions, row.submission_limit, row.submissions, 1, row.window_seconds
    yield BudgetExceeded, row.cost_per_day, row.today, cost, row.day_seconds
    yield MonthBudgetExceeded, row.cost_per_month, row.this_month, cost, row.month_seconds


def _whole(seconds: float | None) -> int:
    return max(1, math.ceil(seconds or WINDOW_SECONDS))
