"""Announcing the end of a job: event and result record, then `announced_at` in the row."""

import structlog

from shared.errors import ServiceUnavailable
from shared.events.attempt_events import AttemptEvents
from shared.events.publisher import EventPublisher
from shared.jobs.job_store import JobStore
from shared.status import Ending

log = structlog.get_logger(__name__)


class Announcer:
    """Announces ends, after their commit. Idempotent, so a process in doubt announces again."""

    def __init__(self, jobs: JobStore, publisher: EventPublisher) -> None:
        self._jobs = jobs
        self._publisher = publisher

    def announce(self, ending: Ending, events: AttemptEvents | None = None) -> bool:
        """Publish the end and note it in the row; False leaves it to the next sweep.

        Args:
            ending: How the job has ended; committed.
            events: What its attempt could not publish so far goes first.
        """
        if events is not None:
            events.flush_before_end()
        if self._publisher.publish_ending(ending).outcome == "unsent":
            return False
        try:
            self._jobs.mark_announced(ending.job_id)
        except ServiceUnavailable as error:
            log.warning("announcement not noted", job_id=str(ending.job_id), reason=str(error))
            return False
        return True
