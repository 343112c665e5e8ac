"""Keeping the leases of running attempts: one thread a process, whatever it runs.

How long a lease is: LEASE_SECONDS in `shared.settings`.

The thread extends what this process holds, and learns from the row that the job was
cancelled, or that another worker owns it now. Either stops the attempt at its next step,
or in the middle of a provider call, by a signal to the main thread.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared.deadline import MainThreadInterrupt, discard_pending_soft_limit
from shared.errors import AttemptError, JobCancelled, LeaseLost, ServiceUnavailable, one_line
from shared.events.publisher import AppendResult
from shared.jobs.attempt_store import AttemptStore, KeptLease
from shared.jobs.model import Claim
from shared.status import STARTING, Step

EXTENSIONS_A_LEASE = 4

log = structlog.get_logger(__name__)


class HeldLease:
    """The lease of one running attempt, shared by its thread and the keeper's.

    Attributes:
        step: What the next extension writes into the row.
    """

    def __init__(self, claim: Claim, attempts: AttemptStore) -> None:
        self.claim = claim
        self._attempts = attempts
        self.step: Step = STARTING
        self.stop_reason: AttemptError | None = None
        # The extension that shows that the attempt has reached its time limit.
        seconds_to_limit = claim.time_limit_seconds - attempts.last_seconds / 2
        self.last_extension_at = time.monotonic() + seconds_to_limit

    def check(self, result: AppendResult) -> None:
        """Stop the attempt if the row says so, at the event that was published last.

        Raises:
            JobCancelled: The job is to be cancelled.
            LeaseLost: Another attempt has taken the job over.
        """
        if self.stop_reason is not None:
            raise self.stop_reason
        if result.cancel_requested:
            # Redis is quicker to say it, but only the row knows.
            with suppress(ServiceUnavailable):
                if self._attempts.find_standing(self.claim):
                    raise JobCancelled
        if result.outcome in ("fenced", "ended"):
            claim = self.claim
            raise LeaseLost(f"attempt {claim.attempt} of job {claim.job_id} was overtaken")

    def owns_job(self) -> bool:
        """Ask the row whether the attempt owns the job.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        return self._attempts.find_standing(self.claim) is not None


class LeaseKeeper:
    """Extends the leases of this process in the background."""

    def __init__(
        self, attempts: AttemptStore, lease_seconds: float, interrupt: MainThreadInterrupt
    ) -> None:
        self._attempts = attempts
        self._interval_seconds = lease_seconds / EXTENSIONS_A_LEASE
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self._held: dict[int, HeldLease] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[HeldLease]:
        """Keep the lease of a claim for the length of the body.

        To be entered while signals are shielded: the thread started here must not take them.
        """
        lease = HeldLease(claim, self._attempts)
        self._ensure_thread()
        with self._lock:
            self._held[id(lease)] = lease
        try:
            yield lease
        finally:
            with self._lock:
                del self._held[id(lease)]
            # A signal that was meant for this attempt must not strike the next one.
            discard_pending_soft_limit()

    def _ensure_thread(self) -> None:
        # A thread does not live on in a fork of its process.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)
            self._thread.start()

    def _keep(self) -> None:
        tick = threading.Event()
        while not tick.wait(self._seconds_to_extension()):
            with self._lock:
                leases = list(self._held.values())
            if leases:
                self._extend(leases)

    def _seconds_to_extension(self) -> float:
        now = time.monotonic()
        with self._lock:
            last = [lease.last_extension_at - now for lease in self._held.values()]
        return min((self._interval_seconds, *(seconds for seconds in last if seconds > 0)))

    def _extend(self, leases: list[HeldLease]) -> None:
        try:
            held = self._attempts.extend(
                KeptLease(lease.claim.job_id, lease.claim.token, lease.step) for lease in leases
            )
        except (ServiceUnavailable, SQLAlchemyError) as error:
            # Whatever it is, the next extension may succeed, and this thread has no successor
            # before the next attempt.
            for lease in leases:
                _log_of(lease).warning("lease not extended", reason=one_line(str(error)))
            return
        for lease in leases:
            is_cancelled = held.get((lease.claim.job_id, lease.claim.token))
            if is_cancelled is None:
                self._stop(lease, LeaseLost(f"attempt {lease.claim.attempt} lost its lease"))
            elif is_cancelled:
                self._stop(lease, JobCancelled())

    def _stop(self, lease: HeldLease, reason: AttemptError) -> None:
        with self._lock:
            if id(lease) in self._held and lease.stop_reason is None:
                lease.stop_reason = reason
                _log_of(lease).info("attempt is to stop", reason=reason.code)
                self._interrupt.interrupt(reason)


def _log_of(lease: HeldLease) -> structlog.typing.FilteringBoundLogger:
    claim = lease.claim
    bound: structlog.typing.FilteringBoundLogger = log.bind(
        job_id=str(claim.job_id), task_id=claim.task_id, attempt=claim.attempt
    )
    return bound
