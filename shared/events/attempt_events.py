"""The events of one attempt: numbered, in order, and kept while Redis is unavailable."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from shared.breaker import PAUSE_SECONDS
from shared.errors import ServiceUnavailable
from shared.events.publisher import AppendResult, Entry, EventPublisher
from shared.status import Step, waiting

BACKLOG_EVENTS = 200


_REFUSALS = ("fenced", "ended", "unknown")


class AttemptEvents:
    """Publishes the steps of one running attempt; an event that was not appended goes first.

    Args:
        owns_job: Asks the row whether the attempt owns the job. What Redis refuses is published if
            it does, for Redis may have been emptied, or have failed over to an older state.
    """

    def __init__(
        self,
        publisher: EventPublisher,
        task_id: str,
        *,
        token: int,
        attempt: int,
        max_attempts: int,
        owns_job: Callable[[], bool],
    ) -> None:
        self._publisher = publisher
        self._task_id = task_id
        self._token = token
        self._attempt = attempt
        self._max_attempts = max_attempts
        self._owns_job = owns_job
        self._ask_at = 0.0
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
            result = self._append(self._unsent[0])
            if result.outcome == "unsent":
                break
            self._unsent.popleft()
        return result

    def flush_before_end(self) -> None:
        """Append what is still unsent before the last event, after which nothing is appended."""
        if self._unsent:
            self._publisher.end_pause()
            self.flush()

    def _append(self, entry: Entry) -> AppendResult:
        result = self._publisher.append(entry)
        if result.outcome not in _REFUSALS or entry.kind != "running":
            return result
        if time.monotonic() < self._ask_at:
            return replace(result, outcome="unsent")
        try:
            is_owner = self._owns_job()
        except ServiceUnavailable:
            self._ask_at = time.monotonic() + PAUSE_SECONDS
            return replace(result, outcome="unsent")
        if not is_owner:
            return replace(result, outcome="fenced")
        result = self._publisher.append(replace(entry, is_confirmed=True))
        # Clients have read an end that the row has forgotten: nothing follows it.
        return replace(result, outcome="repeated") if result.outcome == "ended" else result

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
