"""The overview of the operator page: read at most once in some seconds, however many pages ask."""

import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from shared import __version__
from shared.api.operator.operator_bodies import OperatorOverviewBody
from shared.errors import JobCancelled
from shared.jobs.overview import ROWS_MAX, Overview, Rows
from shared.jobs.workspace_limits import LimitStore
from shared.wiring import Services

KEPT_SECONDS = 2.0
"""Less than the 5 s after which the page asks again."""

SHOWN_MAX = 50
NEWEST_MAX = 10
FAILURE_SECONDS = 3600.0
CANCELLED = JobCancelled.code
_KINDS = ("due", "delayed", "released", "running")


class OverviewReader:
    """Reads the overview; for any number of threads.

    Args:
        services: Made once a process.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reading = threading.Lock()
        self._kept: OperatorOverviewBody | None = None
        self._read_at = 0.0

    def read(self) -> OperatorOverviewBody:
        """Return the overview; an older one while another thread reads it anew.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        kept = self._kept
        if kept is None:
            with self._reading:
                return self._kept or self._read_anew()
        is_old = time.monotonic() >= self._read_at + KEPT_SECONDS
        if is_old and self._reading.acquire(blocking=False):
            try:
                return self._read_anew()
            finally:
                self._reading.release()
        return kept

    def forget(self) -> None:
        """Read it anew at the next request: something was changed here."""
        self._read_at = 0.0

    def _read_anew(self) -> OperatorOverviewBody:
        read_at = time.monotonic()
        self._kept = kept = self._read()
        self._read_at = read_at
        return kept

    def _read(self) -> OperatorOverviewBody:
        services = self._services
        overview, limits = Overview(services.engine), LimitStore(services.engine)
        queue, workers = overview.queue(), overview.workers()
        failures = overview.failures(FAILURE_SECONDS, ("code", "provider"), ROWS_MAX)
        names = (provider.name for provider in services.settings.providers)
        return OperatorOverviewBody.model_validate(
            {
                "at": datetime.now(UTC),
                "version": __version__,
                "throughput": overview.throughput(),
                "queue": queue[:SHOWN_MAX],
                "totals": {kind: sum(row[kind] for row in queue) for kind in _KINDS},
                "running": overview.running(SHOWN_MAX),
                "stuck": overview.stuck()[:SHOWN_MAX],
                "failures": [row for row in failures if row["code"] != CANCELLED],
                "providers": _with_pauses(overview.health(), limits, names),
                "workers": workers[:SHOWN_MAX],
                "slots": sum(row["slots"] for row in workers if row["is_counted"]),
                "paused": limits.list_paused(SHOWN_MAX),
                "webhooks": services.webhooks.list_failing(limit=SHOWN_MAX),
                "newest": overview.newest(NEWEST_MAX),
                "rejected": [each.as_dict() for each in services.rejected.list(NEWEST_MAX)],
            }
        )


def _with_pauses(health: Rows, limits: LimitStore, names: Iterable[str]) -> Rows:
    paused = limits.paused_providers()
    known = {row["provider"]: row for row in health}
    return [
        {"provider": name, **known.get(name, {}), "paused_at": paused.get(name)}
        for name in sorted({*names, *known, *paused})
    ]
