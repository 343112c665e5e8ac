"""What operators ask of all workspaces: who waits, who works, what fails, what it costs.

Read by the commands of operators and by the operator page; one statement for each question, in any
runtime. The page asks every few seconds, so it bounds what a statement may look at.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from shared.database.statements import Statements
from shared.status import JobStatus

FAILURE_GROUPS = ("code", "provider", "model", "workspace")
COST_GROUPS = ("workspace", "provider", "model")
QUEUE_GROUPS = ("workspace", "provider")

STUCK_SECONDS = 120.0
"""Longer than any lease and two sweeps of the defaults."""

STUCK_MAX = 100
PAGE = 500

ROWS_MAX = 20_000
"""The newest rows that the page's numbers are counted in."""

THROUGHPUT_SECONDS = 30 * 60.0
HEALTH_SECONDS = 15 * 60.0

Rows = list[Mapping[str, Any]]


class Overview:
    """Answers the questions. Every method raises ServiceUnavailable without PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    def queue(self) -> Rows:
        """Return the open jobs of each workspace that has any, the most first."""
        return _rows(self._run("show_queue", {}))

    def queue_by(self, by: Sequence[str], provider: str) -> Rows:
        """Return the open jobs by some of QUEUE_GROUPS, the most first.

        Those that name no model are for the given provider.
        """
        rows = _rows(self._run("show_queue_by", {"by": list(by), "provider": provider}))
        absent = {"workspace": "workspace_id", "provider": "provider"}
        return _without(rows, {absent[name] for name in set(QUEUE_GROUPS) - set(by)})

    def newest(
        self,
        limit: int,
        statuses: Sequence[JobStatus] = (),
        product_id: str | None = None,
        model: str | None = None,
    ) -> Rows:
        """Return jobs of all workspaces, newest first: those with any of the statuses, if given."""
        names = [status.name for status in statuses] or None
        given = {"statuses": names, "product_id": product_id, "model": model, "limit": limit}
        return _rows(self._run("list_newest", given))

    def running(self, limit: int) -> Rows:
        """Return running jobs, the longest first."""
        return _rows(self._run("list_running", {"limit": limit}))

    def throughput(self) -> Rows:
        """Return how many jobs have ended in each of the last minutes that has any."""
        given = {"seconds": THROUGHPUT_SECONDS, "limit": ROWS_MAX}
        return _rows(self._run("count_by_minute", given))

    def health(self) -> Rows:
        """Return how the newest attempts of each provider have ended."""
        return _rows(self._run("sum_health", {"seconds": HEALTH_SECONDS, "limit": ROWS_MAX}))

    def workers(self, limit: int | None = None) -> Rows:
        """Return the workers of both runtimes, those that count first."""
        return _rows(self._run("list_workers", {"limit": limit}))

    def failures(self, seconds: float, by: Sequence[str], limit: int | None = None) -> Rows:
        """Return how many jobs have failed within so many seconds, by some of FAILURE_GROUPS.

        With a limit, only so many of the newest are counted.
        """
        given = {"seconds": seconds, "by": list(by), "limit": limit}
        rows = _rows(self._run("count_failures", given))
        return _without(rows, set(FAILURE_GROUPS) - set(by))

    def failed(
        self,
        seconds: float,
        *,
        code: str | None = None,
        provider: str | None = None,
        workspace_id: str | None = None,
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the jobs that failed within so many seconds and were not retried, oldest first.

        Those that were cancelled only with their `code`.
        """
        filters = {"code": code, "provider": provider, "workspace_id": workspace_id}
        page: dict[str, Any] = {
            "seconds": seconds,
            "limit": PAGE,
            "after_time": None,
            "after_id": None,
        }
        while rows := _rows(self._run("list_failed", {**filters, **page})):
            yield from rows
            last = rows[-1]
            page |= {"after_time": last["finished_at"], "after_id": str(last["id"])}

    def costs(self, seconds: float, by: Sequence[str]) -> Rows:
        """Return what attempts have cost within so many seconds, by some of COST_GROUPS."""
        rows = _rows(self._run("sum_costs", {"seconds": seconds, "by": list(by)}))
        return _without(rows, set(COST_GROUPS) - set(by))

    def stuck(self) -> Rows:
        """Return jobs that recovery should have moved on by now, the longest first."""
        return _rows(self._run("find_stuck", {"seconds": STUCK_SECONDS, "limit": STUCK_MAX}))


def _rows(found: Sequence[Any]) -> Rows:
    return [dict(row._mapping) for row in found]


def _without(rows: Rows, names: set[str]) -> Rows:
    return [{name: row[name] for name in row if name not in names} for row in rows]
