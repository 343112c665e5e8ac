"""The one writer of events and result records; called after the commit that an event reports.

An unavailable Redis never fails a job and hardly slows it. `AttemptEvents` keeps what could not be
appended; the sweep publishes the end of a job that was not announced.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from redis import Redis, RedisError

from shared.events import keys
from shared.events.event import (
    completed_record,
    failed_record,
    parse_entries,
    running_record,
    waiting_record,
)
from shared.status import Ending, JobStatus, Step, waiting

_SCRIPT = (Path(__file__).parent / "append.lua").read_text(encoding="utf-8")

FIRST = 1
"""Sequence of an attempt's first event, which also carries its waiting event."""

PAUSE_SECONDS = 2.0
"""Nothing is sent for so long after a failure: a frozen Redis costs at most half of the time."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event to append, with everything that the script decides by.

    Attributes:
        token: The fencing token of its writer.
        sequence: Rises with each event under one token.
        attempt: The attempt that the event belongs to, or that the job waits for; 0 in the last
            event of a job that was not waiting.
        kind: `waiting`, `again`, `running` or `last`; see append.lua.
        last_record: With `last`, the result record.
    """

    task_id: str
    token: int
    sequence: int
    attempt: int
    max_attempts: int
    kind: str
    step: Step
    last_record: str = ""


@dataclass(frozen=True, slots=True)
class AppendResult:
    """The result of appending an event.

    Attributes:
        outcome: `appended`, `repeated`, `fenced`, `ended`, or `unsent` if Redis is unavailable.
        cancel_requested: Whether Redis knows of a request to cancel the job.
    """

    outcome: str
    cancel_requested: bool = False


class EventPublisher:
    """Publishes events, each in one atomic step and one round trip.

    Args:
        ttl_seconds: How long the keys of a job are kept after its newest event.
        stream_length: About how many events a stream keeps.
    """

    def __init__(self, redis: Redis, *, ttl_seconds: int, stream_length: int) -> None:
        self._redis = redis
        self._append = redis.register_script(_SCRIPT)
        self._limits = (ttl_seconds, stream_length)
        self._ttl_seconds = ttl_seconds
        self._paused_until = 0.0

    def publish_waiting(
        self, task_id: str, *, token: int, attempt: int, max_attempts: int
    ) -> AppendResult:
        """Publish that a job waits for an attempt; idempotent for that attempt."""
        step = waiting(attempt, max_attempts)
        return self.append(Entry(task_id, token, 0, attempt, max_attempts, "waiting", step))

    def publish_ending(self, ending: Ending) -> AppendResult:
        """Publish the last event of a job; idempotent, and nothing is appended after it."""
        step, task_id = ending.step, ending.task_id
        if step.status is JobStatus.COMPLETED:
            record = completed_record(
                task_id, str(ending.job_id), ending.image_urls, ending.finished_at
            )
        else:
            record = failed_record(task_id, ending.error_code, step.message, ending.finished_at)
        attempt, max_attempts = ending.waited_for, ending.max_attempts
        return self.append(
            Entry(task_id, ending.token, 0, attempt, max_attempts, "last", step, record)
        )

    def request_cancel(self, task_id: str) -> None:
        """Have the next event of a running job report the request to cancel it.

        A shortcut: the next extension of the lease reads the request from the row.
        """
        try:
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(keys.fence(task_id), "cancel", "1")
                pipeline.expire(keys.fence(task_id), self._ttl_seconds)
                pipeline.execute()
        except RedisError as error:
            log.warning("cancel shortcut not set", reason=_describe(error))

    def find_last_progress(self, task_id: str) -> int | None:
        """Return the progress of a running attempt's last event; None if unknown."""
        try:
            entries: Any = self._redis.xrevrange(keys.stream(task_id), count=1)
        except RedisError as error:
            log.warning("last event not read", reason=_describe(error))
            return None
        steps = [event.step for event in parse_entries(entries)]
        return steps[0].progress if steps and steps[0].status is JobStatus.PROCESSING else None

    def end_pause(self) -> None:
        """Try Redis again at the next event, however recently it failed."""
        self._paused_until = 0.0

    def append(self, entry: Entry) -> AppendResult:
        """Append and publish one event now, unless Redis has just failed."""
        if time.monotonic() < self._paused_until:
            return AppendResult("unsent")
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
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            log.warning("event not sent", reason=_describe(error))
            return AppendResult("unsent")
        return AppendResult(outcome, bool(cancel))

    def _arguments(self, entry: Entry) -> list[str | int]:
        record = entry.last_record
        if entry.kind == "running":
            record = running_record(entry.task_id, entry.step)
        elif entry.kind != "last":
            record = waiting_record(entry.task_id, entry.step, entry.attempt)
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
            record,
            before,
            before_record,
        ]


def _describe(error: RedisError) -> str:
    return f"{type(error).__name__}: {error}"[:200]
