"""The port of the dispatchers: what puts an envelope on a queue, and what that promises."""

from typing import Protocol
from uuid import UUID


class Dispatcher(Protocol):
    """Puts the envelope of a job on the queue of a runtime.

    Contract: called after the row is committed; returns within about two seconds whatever the
    queue's server does; sending twice is harmless (the claim decides); a failure is ambiguous,
    the envelope may have been sent all the same.
    """

    def dispatch(self, job_id: UUID, task_id: str, delay_seconds: float = 0) -> None:
        """Send the envelope, to be delivered after the delay.

        Raises:
            ServiceUnavailable: The queue's server did not take it; the sweep sends it later.
        """
        ...

    def check(self) -> None:
        """Make a round trip to the queue, and look for somebody who takes from it.

        Raises:
            ServiceUnavailable: The queue's server does not answer, or nobody is there.
        """
        ...
