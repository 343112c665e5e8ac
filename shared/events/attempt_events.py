"""The events of one attempt: numbered, in order, and kept while Redis is unavailable."""

from collections import deque

from shared.events.publisher import AppendResult, Entry, EventPublisher
from shared.status import Step, waiting

BACKLOG_EVENTS = 200


class AttemptEvents:
    """Publishes the steps of one running attempt; an event that was not appended goes first."""

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

    def publish(self, step: Step) -> AppendResult:
        """Publish a step of this attempt."""
        return self._publish("running", self._attempt, step)

    def publish_waiting(self, attempt: int) -> AppendResult:
        """Publish that the job waits for the given attempt, after this one failed."""
        return self._publish("waiting", attempt, waiting(attempt, self._max_attempts))

    def publish_released(self) -> AppendResult:
        """Publish that the job waits for this same attempt, which was not used."""
        return self._publish("again", self._attempt, waiting(self._attempt, self._max_attempts))

    def flush(self) -> AppendResult:
        """Append what is still unsent, oldest first."""
        result = AppendResult("repeated")
        while self._unsent:
            result = self._publisher.append(self._unsent[0])
            if result.outcome == "unsent":
                break
            self._unsent.popleft()
        return result

    def flush_before_end(self) -> None:
        """Append what is still unsent before the last event, after which nothing is appended."""
        if self._unsent:
            self._publisher.end_pause()
            self.flush()

    def _publish(self, kind: str, attempt: int, step: Step) -> AppendResult:
        self._sequence += 1
        entry = Entry(
            self._task_id,
            self._token,
            self._sequence,
            attempt,
            self._max_attempts,
            kind,
            step,
        )
        self._unsent.append(entry)
        return self.flush()
