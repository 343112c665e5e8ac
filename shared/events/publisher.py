"""The one writer of events and result records. Called after the commit that an event tells of.

Redis being down never fails and hardly slows a job: what could not be sent waits here and goes
out before the next event; the end of a job that nobody could hear of is announced by the sweep.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from redis import Redis, RedisError

from shared.events import keys
from shared.events.model import completed_record, failed_record, parse_event, running_record
from shared.status import Ending, JobStatus, Step, waiting

_SCRIPT = (Path(__file__).parent / "append.lua").read_text(encoding="utf-8")

FIRST = 1
"""Sequence of an attempt's first event: the one that brings its waiting event along."""

PAUSE_SECONDS = 2.0
"""After a failure nothing is sent for so long: a frozen Redis costs a job half its time at most."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event on its way, with all that the script decides by.

    Attributes:
        token: The fence of whoever tells it.
        sequence: Rises with each event under one token.
        attempt: The attempt that the event belongs to, or that the job waits for; 0 with the
            end of a job that was not waiting.
        kind: `waiting`, `again`, `running` or `last`; see append.lua.
    """

    task_id: str
    token: int
    sequence: int
    attempt: int
    max_attempts: int
    kind: str
    step: Step
    record: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an event.

    Attributes:
        outcome: `appended`, `repeated`, `fenced`, `ended`, or `unsent` if Redis was away.
        cancel_requested: Whether Redis knows of a request to cancel the job.
    """

    outcome: str
    cancel_requested: bool = False


class EventPublisher:
    """Writes events, each in one atomic step and one round trip.

    Args:
        ttl_seconds: How long the keys of a job outlive its newest event.
        stream_length: About how many events a stream keeps.
    """

    def __init__(self, redis: Redis, *, ttl_seconds: int, stream_length: int) -> None:
        self._redis = redis
        self._append = redis.register_script(_SCRIPT)
        self._limits = (ttl_seconds, stream_length)
        self._ttl_seconds = ttl_seconds
        self._silent_until = 0.0

    def publish_waiting(
        self, task_id: str, *, token: int, attempt: int, max_attempts: int
    ) -> Delivery:
        """Tell that a job waits for an attempt; idempotent for that attempt."""
        step = waiting(attempt, max_attempts)
        record = waiting_record(task_id, step, attempt)
        return self.send(Entry(task_id, token, 0, attempt, max_attempts, "waiting", step, record))

    def publish_ending(self, ending: Ending) -> Delivery:
        """Tell how a job ended; idempotent, and the last word."""
        step, task_id = ending.step, ending.task_id
        if step.status is JobStatus.COMPLETED:
            record = completed_record(
                task_id, str(ending.job_id), ending.image_urls, ending.finished_at
            )
        else:
            record = failed_record(task_id, ending.error_code, step.message, ending.finished_at)
        attempt, max_attempts = ending.waited_for, ending.max_attempts
        return self.send(
            Entry(task_id, ending.token, 0, attempt, max_attempts, "last", step, record)
        )

    def request_cancel(self, task_id: str) -> None:
        """Let the next event of a running job bring back that it is to stop.

        A shortcut: the lease extension reads the same from the row.
        """
        try:
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(keys.fence(task_id), "cancel", "1")
                pipeline.expire(keys.fence(task_id), self._ttl_seconds)
                pipeline.execute()
        except RedisError as error:
            log.warning("cancel shortcut not set", reason=_describe(error))

    def find_last_progress(self, task_id: str) -> int | None:
        """Return the progress that followers saw last of a running attempt; None if unknown."""
        try:
            entries: Any = self._redis.xrevrange(keys.stream(task_id), count=1)
        except RedisError as error:
            log.warning("last event not read", reason=_describe(error))
            return None
        for entry_id, fields in entries:
            step = parse_event(entry_id, fields["event"]).step
            return step.progress if step.status is JobStatus.PROCESSING else None
        return None

    def end_pause(self) -> None:
        """Try Redis again at the next event, however recently it failed."""
        self._silent_until = 0.0

    def send(self, entry: Entry) -> Delivery:
        """Send one event now, unless Redis has just failed."""
        if time.monotonic() < self._silent_until:
            return Delivery("unsent")
        try:
            outcome, cancel = self._append(
                keys=[
                    keys.stream(entry.task_id),
                    keys.fence(entry.task_id),
                    keys.celery_record(entry.task_id),
                ],
                args=self._arguments(entry),
            )
        except RedisError as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            log.warning("event not sent", reason=_describe(error))
            return Delivery("unsent")
        return Delivery(outcome, bool(cancel))

    def _arguments(self, entry: Entry) -> list[str | int]:
        before, before_record = "", ""
        is_first = entry.kind == "running" and entry.sequence == FIRST
        if is_first or (entry.kind == "last" and entry.attempt):
            step = waiting(entry.attempt, entry.max_attempts)
            before = step.as_json()
            before_record = waiting_record(entry.task_id, step, entry.attempt)
        return [
            keys.channel(entry.task_id),
            *self._limits,
            entry.token,
            entry.sequence,
            entry.attempt,
            entry.kind,
            entry.step.as_json(),
            entry.record,
            before,
            before_record,
        ]


def waiting_record(task_id: str, step: Step, attempt: int) -> str:
    """Return the record of a waiting job: none before its first claim, Celery's PENDING."""
    return running_record(task_id, step) if attempt > 1 else ""


def _describe(error: RedisError) -> str:
    return f"{type(error).__name__}: {error}"[:200]
