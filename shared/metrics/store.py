"""The numbers of all jobs: summed up when they end, read in one statement.

The sweep counts what has ended, in any runtime, so that totals survive restarts and the deletion
of jobs. A job that is deleted within `LAG_SECONDS` of its end is not counted.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Engine

from shared.database.bounds import STATEMENT_SECONDS
from shared.database.statements import Statements

LAG_SECONDS = STATEMENT_SECONDS + 2
"""Longer than a statement that ends a job may take until it is committed."""

JOBS_MAX = 4_000
"""Of one run, so that it stays well within the timeout of a statement."""

BOUNDS = ("0.5", "1", "2.5", "5", "10", "30", "60", "120", "300", "600", "1800", "+Inf")
"""Upper bounds of the histograms in seconds, as Prometheus writes them; PostgreSQL reads them."""


class Sample(NamedTuple):
    """One number, as Prometheus has them.

    Attributes:
        labels: Of sets that are bounded: statuses, codes, runtimes, providers; no workspace.
    """

    name: str
    labels: Mapping[str, str]
    value: float


class Spent(NamedTuple):
    """What attempts were charged.

    Attributes:
        calls: How many they were, by charge state.
    """

    microdollars: int
    calls: Mapping[str, int]


class MetricStore:
    """Counts and reads. Every method raises ServiceUnavailable without PostgreSQL.

    Args:
        provider: Whose pause explains why jobs wait.
    """

    def __init__(self, engine: Engine, provider: str, lag_seconds: float = LAG_SECONDS) -> None:
        self._run = Statements(engine, __file__)
        self._provider = provider
        self._lag_seconds = lag_seconds

    def count(self, limit: int = JOBS_MAX) -> int:
        """Add the jobs that have ended to the totals; return how many, 0 if another run does it."""
        given = {"lag": self._lag_seconds, "limit": limit, "bounds": list(BOUNDS)}
        return int(self._run("count_metrics", given)[0].jobs)

    def read(self) -> Sequence[Sample]:
        """Return all numbers."""
        rows = self._run("read_metrics", {"provider": self._provider})
        return [Sample(row.name, row.labels, float(row.value)) for row in rows]

    def spent(self) -> Spent:
        """Return what the jobs that ended in the last full minute have cost."""
        rows = self._run("count_spent", {})
        calls = {row.charge_state: int(row.calls) for row in rows}
        return Spent(sum(int(row.microdollars) for row in rows), calls)
