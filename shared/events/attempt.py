"""The events of one attempt: numbered, in order, none lost to a passing outage of Redis."""

from collections import deque

from shared.events.model import running_record
from shared.events.publisher import Delivery, Entry, EventPublisher, waiting_record
from shared.status import Step, waiting

BACKLOG_EVENTS = 200


class AttemptEvents:
    """Tells the steps of one running attempt; what could not be sent goes out before the next."""

    def __init__(
        self,
        publisher: EventPublisher,
        task_id: str,
        *,
        token: int,
        attempt: int,
        max_attempts: int,
    ) -> None:
        self._publisher = publisher
        self._task_id = task_id
        self._token = token
        self._attempt = attempt
        self._max_attempts = max_attempts
        self._sequence = 0
        self._unsent: deque[Entry] = deque(maxlen=BACKLOG_EVENTS)

    def publish(self, step: Step) -> Delivery:
        """Tell a step of this attempt."""
        return self._send("running", self._attempt, step)

    def publish_waiting(self, attempt: int) -> Delivery:
        """Tell that the job now waits for the given attempt, after this one failed."""
        return self._send("waiting", attempt, waiting(attempt, self._max_attempts))

    def publish_released(self) -> Delivery:
        """Tell that the job waits for this same attempt again, which was not used."""
        return self._send("again", self._attempt, waiting(self._attempt, self._max_attempts))

    def flush(self) -> Delivery:
        """Send what is still unsent, oldest first."""
        delivery = Delivery("repeated")
        while self._unsent:
            delivery = self._publisher.send(self._unsent[0])
            if delivery.outcome == "unsent":
                break
            self._unsent.popleft()
        return delivery

    def flush_before_end(self) -> None:
        """Send what is still unsent before the last event, after which nothing is taken."""
        if self._unsent:
            self._publisher.end_pause()
            self.flush()

    def _send(self, kind: str, attempt: int, step: Step) -> Delivery:
        self._sequence += 1
        if kind == "running":
            record = running_record(self._task_id, step)
        else:
            record = waiting_record(self._task_id, step, attempt)
        self._unsent.append(
            Entry(
                self._task_id,
                self._token,
                self._sequence,
                attempt,
                self._max_attempts,
                kind,
                step,
                record,
            )
        )
        return self.flush()
