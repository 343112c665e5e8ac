"""Events as followers see them, and the result record that Celery's clients read. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from shared.errors import JobFailed
from shared.status import JobStatus, Step

FROM_THE_START = "0-0"
"""Less than the id of every event."""

ROW_SEQUENCE = 2**64 - 1
"""The greatest second part that Redis allows in an id; no entry of a stream reaches it."""

_EVENT_ID = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job.

    Attributes:
        id: The id of its entry in the stream, or one made from the row (`row_event`).
    """

    id: str
    step: Step

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.step.status.is_terminal


def parse_event(entry_id: str, data: str) -> Event:
    """Return the event with these data.

    Raises:
        ValueError: The data are not those of an event.
    """
    try:
        values = json.loads(data)
        step = Step(JobStatus(values["status"]), int(values["progress"]), str(values["message"]))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an event: {type(error).__name__}") from error
    return Event(entry_id, step)


def parse_entries(entries: Sequence[tuple[str, Mapping[str, str]]]) -> list[Event]:
    """Return the events of a stream's entries; entries that are not events are skipped."""
    events = []
    for entry_id, fields in entries:
        try:
            events.append(parse_event(entry_id, fields.get("event", "")))
        except ValueError as error:
            log.warning("stream entry skipped", entry_id=entry_id, reason=str(error))
    return events


def row_event(step: Step, finished_at: datetime, after_id: str = FROM_THE_START) -> Event:
    """Return the last event of a job, made from its row for followers of a stream that lost it.

    Its id follows `after_id`, as the clock of the row may be behind that of the stream. A client
    that reconnects with it has received everything (`is_of_row`).
    """
    milliseconds = max(int(finished_at.timestamp() * 1000), _order(after_id)[0])
    return Event(f"{milliseconds}-{ROW_SEQUENCE}", step)


def is_of_row(event_id: str) -> bool:
    """Return whether `row_event` made the id."""
    return event_id.endswith(f"-{ROW_SEQUENCE}")


def is_event_id(text: str) -> bool:
    """Return whether a text from a client can be the id of an event."""
    if _EVENT_ID.fullmatch(text) is None:
        return False
    return all(int(part) <= ROW_SEQUENCE for part in text.split("-"))


def follows(event_id: str, other_id: str) -> bool:
    """Return whether an event comes after another one."""
    return _order(event_id) > _order(other_id)


def bounded(event_id: str, newest: Sequence[tuple[str, Any]]) -> str:
    """Return the id, or that of the newest entry of a stream if the id is ahead of it.

    An id can be made up, and Redis can lose a stream or fail over to an older state of it.
    """
    end = newest[0][0] if newest else FROM_THE_START
    return end if follows(event_id, end) else event_id


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = event_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def running_record(task_id: str, step: Step) -> str:
    """Return the record of a claimed job: custom state PROCESSING, with the step as meta."""
    return _record(task_id, "PROCESSING", step.as_dict(), None)


def waiting_record(task_id: str, step: Step, attempt: int) -> str:
    """Return the record of a waiting job; empty (Celery's PENDING) before the first claim."""
    return running_record(task_id, step) if attempt > 1 else ""


def completed_record(
    task_id: str, job_id: str, image_urls: Sequence[str], finished_at: datetime
) -> str:
    """Return the record of a completed job."""
    return _record(task_id, "SUCCESS", {"job_id": job_id, "images": list(image_urls)}, finished_at)


def failed_record(task_id: str, code: str, message: str, finished_at: datetime) -> str:
    """Return the record of a failed job, from which Celery rebuilds `JobFailed`.

    The form is that of celery/backends/base.py, `prepare_exception` and `exception_to_python`.
    """
    result = {
        "exc_type": JobFailed.__name__,
        "exc_message": [code, message],
        "exc_module": JobFailed.__module__,
    }
    return _record(task_id, "FAILURE", result, finished_at)


def _record(task_id: str, state: str, result: dict[str, Any], done_at: datetime | None) -> str:
    return json.dumps(
        {
            "status": state,
            "result": result,
            "traceback": None,
            "children": [],
            "date_done": None if done_at is None else done_at.isoformat(),
            "task_id": task_id,
        }
    )
