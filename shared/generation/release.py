"""The release step: jobs that may start now get their envelopes, all others wait in their rows.

Called after a submission, at the end of an attempt, by a timer and by the sweep.
"""

from collections.abc import Callable, Sequence

import structlog

from shared import tracing
from shared.breaker import Breaker
from shared.errors import ServiceUnavailable
from shared.jobs.dispatcher import Dispatcher
from shared.jobs.release_store import BATCH, ReleasedJob, ReleaseRules, ReleaseStore
from shared.tracing import JobTrace

LOST_AFTER_SECONDS = 2.0
"""An envelope may take so long from the commit of its row to its claim."""

log = structlog.get_logger(__name__)


class Releaser:
    """Sends envelopes for as many jobs as there are free slots, and a small reserve.

    Args:
        breaker: Of the queue's server: a refusal takes seconds. None makes one.
    """

    def __init__(
        self, store: ReleaseStore, dispatcher: Dispatcher, breaker: Breaker | None = None
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._breaker = breaker or Breaker()

    @property
    def rules_now(self) -> ReleaseRules | None:
        """How a job that is accepted now is released; None while the queue takes no envelopes."""
        return None if self.is_paused else self._store.rules

    @property
    def is_paused(self) -> bool:
        """Whether the queue has just refused an envelope."""
        return self._breaker.is_open

    def release(self, *, in_batches: bool = False) -> int:
        """Release waiting jobs and return how many envelopes were sent.

        Args:
            in_batches: Wait until half of the room is free: at the end of an attempt, as then
                one statement serves several.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        sent, is_more = 0, False
        while not self.is_paused:
            room = self._store.find_room()
            at_least = room.slots if room and in_batches else 1
            if room is None or not room.has_waiting or room.free < at_least:
                break
            jobs = self._store.release(at_least)
            sent += self.send(jobs)
            is_more = is_more or len(jobs) == BATCH
            if not self._store.has_more:
                if not is_more:
                    break
                is_more = False
        return sent

    def release_or_leave(self, *, in_batches: bool = False) -> None:
        """Release waiting jobs; leave them to the next pass while PostgreSQL is unavailable."""
        try:
            self.release(in_batches=in_batches)
        except ServiceUnavailable as error:
            log.warning("release left to the sweep", reason=str(error))

    def send(self, jobs: Sequence[ReleasedJob]) -> int:
        """Send the envelopes of released jobs; take back into their rows what the queue refuses.

        Called after the commit; an outage raises nothing. Returns how many were sent.
        """
        for number, job in enumerate(jobs):
            if not self._breaker.admits():
                self._withdraw(jobs[number:])
                return number
            try:
                self._dispatch(job)
            except ServiceUnavailable as error:
                self._breaker.open()
                log.warning("not dispatched", job_id=str(job.job_id), reason=str(error))
                self._withdraw(jobs[number:])
                return number
            self._breaker.close()
        return len(jobs)

    def replace_lost(self) -> int:
        """Take back envelopes that the queue has lost, so that they are released again.

        Returns how many. One that is taken for lost and comes after all is a duplicate, which
        changes nothing.

        Raises:
            ServiceUnavailable: PostgreSQL or the queue cannot be reached.
        """
        envelopes, running = self._store.find_open(LOST_AFTER_SECONDS)
        if not envelopes:
            return 0
        lost = self._dispatcher.find_lost(envelopes, running)
        self._store.withdraw(lost, were_sent=True)
        if lost:
            log.warning("envelopes lost", envelopes=len(lost))
        return len(lost)

    def wake_for_retry(self, send_alarm: Callable[[float], None]) -> None:
        """Have a runtime without a timer of its own release again when the next retry is due.

        Args:
            send_alarm: Wakes the runtime after so many seconds.
        """
        try:
            seconds = self._store.find_next_due_seconds()
            if seconds is not None and self._store.set_alarm(max(seconds, 0.0)):
                send_alarm(max(seconds, 0.0))
        except ServiceUnavailable as error:
            log.warning("retry left to the sweep", reason=str(error))

    def _dispatch(self, job: ReleasedJob) -> None:
        place = JobTrace(job.job_id, job.traceparent).place
        attributes = tracing.job_attributes(job.job_id, "send")
        with tracing.span(f"send {tracing.DESTINATION}", "producer", attributes, place):
            self._dispatcher.dispatch(job.job_id, job.envelope_id)

    def _withdraw(self, jobs: Sequence[ReleasedJob]) -> None:
        try:
            self._store.withdraw(jobs, were_sent=False)
        except ServiceUnavailable as error:
            # They are found missing on the queue instead.
            log.warning("not withdrawn", jobs=len(jobs), reason=str(error))
