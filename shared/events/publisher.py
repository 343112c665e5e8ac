"""The one writer of events and result records; called after the commit that an event reports.

An unavailable Redis never fails a job and hardly slows it. `AttemptEvents` keeps what could not be
appended; the sweep publishes the end of a job that was not announced.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from redis import Redis, RedisError

from shared.breaker import Breaker
from shared.errors import one_line
from shared.events.event import (
    completed_record,
    failed_record,
    running_record,
    waiting_record,
)
from shared.events.keys import Keys, unprefixed
from shared.status import Ending, JobStatus, Step, waiting

_SCRIPT = (Path(__file__).parent / "append.lua").read_text(encoding="utf-8")

FIRST = 1
"""Sequence of an attempt's first event, which also carries its waiting event."""

ENDED_SECONDS = 300
"""How long the events of an ended job are kept: for clients that reconnect. Its row has the end."""

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
        is_confirmed: Whether the row says that the attempt owns the job, which Redis had refused.
    """

    task_id: str
    token: int
    sequence: int
    attempt: int
    max_attempts: int
    kind: str
    step: Step
    last_record: str = ""
    is_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class AppendResult:
    """The result of appending an event.

    Attributes:
        outcome: `appended`, `repeated`, `fenced`, `ended`, `unknown` if Redis lost the fence of a
            running attempt, or `unsent` if Redis is unavailable.
        cancel_requested: Whether Redis knows of a request to cancel the job.
        progress: The highest that clients have seen since the job last waited.
    """

    outcome: str
    cancel_requested: bool = False
    progress: int = 0


class EventPublisher:
    """Publishes events, each in one atomic step and one round trip.

    Args:
        ttl_seconds: How long the keys of an open job are kept after its newest event, and the
            result record of an ended one.
        stream_length: About how many events a stream keeps.
        breaker: Of Redis; None makes one.
        keys: The names of the installation.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        ttl_seconds: int,
        stream_length: int,
        breaker: Breaker | None = None,
        keys: Keys = unprefixed,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._append = redis.register_script(_SCRIPT)
        self._limits = (ttl_seconds, stream_length)
        self._ttl_seconds = ttl_seconds
        self._breaker = breaker or Breaker()

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
                pipeline.hset(self._keys.fence(task_id), "cancel", "1")
                pipeline.expire(self._keys.fence(task_id), self._ttl_seconds)
                pipeline.execute()
        except RedisError as error:
            log.warning("cancel shortcut not set", reason=_describe(error))

    def find_last_progress(self, task_id: str) -> int:
        """Return the highest progress that clients have seen since the job last waited, or 0."""
        if self.is_paused:
            return 0
        try:
            progress: Any = self._redis.hget(self._keys.fence(task_id), "progress")
        except RedisError as error:
            self._note_failure("last progress not read", error)
            return 0
        return int(progress or 0)

    @property
    def is_paused(self) -> bool:
        """Whether Redis has just failed, and nothing is sent for a while."""
        return self._breaker.is_open

    def end_pause(self) -> None:
        """Try Redis again at the next event, however recently it failed."""
        self._breaker.close()

    def append(self, entry: Entry) -> AppendResult:
        """Append and publish one event now, unless Redis has just failed."""
        if not self._breaker.admits():
            return AppendResult("unsent")
        try:
            outcome, cancel, progress = self._append(
                keys=[
                    self._keys.stream(entry.task_id),
                    self._keys.fence(entry.task_id),
                    self._keys.celery_record(entry.task_id),
                ],
                args=self._arguments(entry),
            )
        except RedisError as error:
            self._note_failure("event not sent", error)
            return AppendResult("unsent")
        self._breaker.close()
        return AppendResult(outcome, bool(cancel), progress)

    def _note_failure(self, what: str, error: RedisError) -> None:
        log.warning(what, reason=_describe(error))
        # A key that is no key of ours concerns its job alone: Redis serves all others.
        if "WRONGTYPE" in str(error):
            self._breaker.close()
        else:
            self._breaker.open()

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
            self._keys.channel(entry.task_id),
            *self._limits,
            entry.token,
            entry.sequence,
            entry.attempt,
            entry.kind,
            entry.step.as_json(),
            record,
            before,
            before_record,
            int(entry.is_confirmed),
            ENDED_SECONDS,
        ]


def _describe(error: RedisError) -> str:
    return one_line(f"{type(error).__name__}: {error}")
