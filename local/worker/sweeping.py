"""What the main process of a Celery worker does for jobs: never in a job slot, whatever those do.

Five threads, so that none waits for another: one acts on what the event loop reports, one sweeps,
one does the housekeeping, one sends deliveries of webhooks, one listens to PostgreSQL. The event
loop waits for none of them.
"""

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from local.metrics import start_metrics
from local.worker.listening import JobListener
from shared import __version__, tracing
from shared.api.webhook_bodies import DeliveredJobs
from shared.errors import DarkroomError, MalformedEnvelope, UnknownJob, one_line
from shared.wiring import Services, process_owner

RELEASE_SECONDS = 1.0
"""Between two looks for retries that are due, and for slots that other workers have."""

SWEEPS_A_HOUSEKEEPING = 10

LISTEN_PAUSE_SECONDS = 1.0
"""Between two connections that listen."""

SEND_SECONDS = 1.0
"""Between two looks for deliveries of webhooks."""

LONGEST_PAUSE_SECONDS = 60.0
"""Between two sweeps, however often they fail."""

FORK_WAITS_SECONDS = 0.25
STOP_WAITS_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeadChild:
    """A child process that died, or was killed, while it had a job.

    Attributes:
        owner: The process as it stands in `lease_owner`.
        at_time_limit: Whether it was killed for running too long.
    """

    job_id: UUID
    owner: str
    at_time_limit: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """A task or message that Celery's `revoke` names.

    Attributes:
        name: The job's `task_id`, or the id of its envelope.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Discarded:
    """A job whose message Celery discards.

    Attributes:
        is_expired: Whether its `expires` has passed: it is in time if the job has begun.
    """

    job_id: UUID
    is_expired: bool


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """What was on the queue and names no job."""

    reason: str
    body: str


class JobEnded:
    """A child that is free for another job."""


class JobInserted:
    """A row that another program has written."""


News = DeadChild | Revoked | Discarded | RejectedMessage | JobEnded | JobInserted

_reports: queue.SimpleQueue[News | None] = queue.SimpleQueue()


def report(news: News) -> None:
    """Have a thread act on what the event loop has seen; returns at once."""
    _reports.put(news)


class ForkGate:
    """Lets children be forked between two pieces of the threads' work.

    A lock that a fork caught held, such as that of an output, would stay held in the child for
    ever. A piece that takes long waits for a server, and holds nothing that a child uses: the fork
    does not wait for its end.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._is_closed = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """Do a piece of work, after a fork that is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Let no work begin, and wait a moment for what has begun."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._working, FORK_WAITS_SECONDS)

    def open(self) -> None:
        """Let work begin again."""
        with self._changed:
            self._is_closed = False
            self._changed.notify_all()


class SweepThreads:
    """Sweep each SWEEP_SECONDS, settle the jobs of dead children, and release waiting jobs.

    Args:
        services: Of these threads alone.
        slots: How many jobs the worker runs at once.
    """

    COUNT = 5

    def __init__(self, services: Services, slots: int) -> None:
        self._services = services
        self._slots = slots
        self._owner = process_owner()
        self._gate = ForkGate()
        self._is_stopping = threading.Event()
        delivered = DeliveredJobs(services.views, services.settings)
        self._sender = services.build_webhook_sender(delivered.show)
        self._release_at = 0.0
        seconds = services.settings.sweep_seconds
        self._threads = [
            threading.Thread(target=self._repeat, args=each, name=each[0].__name__, daemon=True)
            for each in (
                (self._act, 0.0),
                (self._sweep, seconds),
                (self._tidy, seconds * SWEEPS_A_HOUSEKEEPING),
                (self._send, SEND_SECONDS),
                (self._listen, LISTEN_PAUSE_SECONDS),
            )
        ]

    def start(self) -> None:
        """Begin with a sweep at once: a worker that comes back finds what it left."""
        # Made now, as a fork might catch a lock that is held while a module is imported.
        _ = self._services.sweeper, self._services.deleter
        os.register_at_fork(
            before=self._gate.close,
            after_in_parent=self._gate.open,
            after_in_child=self._leave_to_parent,
        )
        tracing.export_within(self._gate.working)
        for thread in self._threads:
            thread.start()
        start_metrics(self._services, around=self._gate.working)

    def stop(self) -> None:
        """Count the worker's slots no more, and end; what hangs is not waited for."""
        self._is_stopping.set()
        _reports.put(None)
        self._threads[0].join(STOP_WAITS_SECONDS)
        self._services.close()

    def _leave_to_parent(self) -> None:
        # psycopg2 closes no connection that another process has made.
        self._services.engine.dispose(close=False)
        self._gate.__init__()  # type: ignore[misc] # as new: its lock may have been held

    def _repeat(self, work: Callable[[], None], every_seconds: float) -> None:
        """Do a piece of work again and again; no error ends the thread."""
        failures = 0
        while not self._is_stopping.is_set():
            try:
                work()
            except (DarkroomError, SQLAlchemyError) as error:
                log.warning("sweep failed", reason=one_line(str(error)))
            except Exception:
                # Without these threads no lost job is ever recovered.
                failures += 1
                log.exception("sweep failed unexpectedly", failures=failures)
            else:
                failures = 0
            # Longer after each unexpected error in a row.
            pause_seconds = max(every_seconds, RELEASE_SECONDS if failures else 0)
            pause_seconds *= 2.0 ** min(failures, 8)
            self._is_stopping.wait(min(pause_seconds, max(every_seconds, LONGEST_PAUSE_SECONDS)))

    def _act(self) -> None:
        seconds = self._release_at - time.monotonic()
        if seconds > 0:
            with suppress(queue.Empty):
                self._act_on(_reports.get(timeout=seconds))
            return
        # However often jobs end: what their ends release waits for several of them.
        self._release_at = time.monotonic() + RELEASE_SECONDS
        with self._gate.working():
            self._services.releaser.release()

    def _act_on(self, news: News | None) -> None:
        with self._gate.working():
            if news is None:
                if self._is_stopping.is_set():
                    self._services.releases.forget_worker(self._owner)
            elif isinstance(news, DeadChild):
                self._services.sweeper.recover_of_dead_worker(
                    news.job_id, news.owner, at_time_limit=news.at_time_limit
                )
            elif isinstance(news, JobEnded | JobInserted):
                self._services.releaser.release(in_batches=isinstance(news, JobEnded))
            elif isinstance(news, RejectedMessage):
                self._services.rejected.note(MalformedEnvelope(news.reason), news.body)
            else:
                self._cancel(news)

    def _cancel(self, news: Revoked | Discarded) -> None:
        services = self._services
        if isinstance(news, Revoked):
            found = services.jobs.find_of_task(news.name)
        else:
            found = [news.job_id]
        for job_id in found:
            with suppress(UnknownJob):
                is_in_time = isinstance(news, Discarded) and news.is_expired
                if is_in_time and services.get(job_id).attempt:
                    continue
                log.info("job revoked", job_id=str(job_id))
                services.cancel(job_id)

    def _sweep(self) -> None:
        # Counted until the third sweep after this is late.
        seconds = math.ceil(self._services.settings.sweep_seconds * 3) + 1
        with self._gate.working():
            self._services.releases.note_worker(self._owner, self._slots, __version__, seconds)
        self._services.sweeper.sweep(self._gate.working)

    def _tidy(self) -> None:
        self._services.deleter.tidy(self._gate.working)

    def _listen(self) -> None:
        listener = JobListener(self._services.engine, self._gate.working)
        listener.listen(self._is_stopping.is_set, lambda: report(JobInserted()))

    def _send(self) -> None:
        self._sender.send_due(self._gate.working)
