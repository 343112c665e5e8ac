"""The port of the dispatchers: what puts an envelope on a queue, and what that promises."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from shared.jobs.release_store import OpenEnvelope


class Dispatcher(Protocol):
    """Puts the envelope of a job on the queue of a runtime.

    Contract: called after the row is committed; returns within about two seconds whatever the
    queue's server does; sending twice is harmless (the claim decides); a failure is ambiguous,
    the envelope may have been sent all the same.
    """

    def dispatch(self, job_id: UUID, envelope_id: str) -> None:
        """Send an envelope, to be delivered now.

        Args:
            job_id: The job that it starts.
            envelope_id: Its own id, new for each envelope.

        Raises:
            ServiceUnavailable: The queue's server did not take it.
        """
        ...

    def find_lost(self, envelopes: Sequence[OpenEnvelope], running: int) -> list[OpenEnvelope]:
        """Return those envelopes that are no longer on the queue, although no job claimed them.

        May name some that are: a duplicate changes nothing.

        Args:
            envelopes: Of the jobs that are released and do not run yet.
            running: How many jobs run, each from an envelope that may still count as delivered.

        Raises:
            ServiceUnavailable: The queue's server does not answer.
        """
        ...

    def check(self) -> None:
        """Make a round trip to the queue.

        Raises:
            ServiceUnavailable: The queue's server does not answer.
        """
        ...
