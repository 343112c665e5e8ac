"""What an event is, and the result record that Celery's clients read. Pure."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.errors import JobFailed
from shared.status import JobStatus, Step


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a follower gets it.

    Attributes:
        id: Of its entry in the stream, or made from the row's end (`row_event`).
    """

    id: str
    step: Step

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.step.status.is_terminal


def parse_event(entry_id: str, data: str) -> Event:
    """Read an entry of the stream."""
    values = json.loads(data)
    step = Step(JobStatus(values["status"]), values["progress"], values["message"])
    return Event(entry_id, step)


_EVENT_ID = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")

ROW_SEQUENCE = 2**64 - 1
"""The greatest that Redis has for an entry's second part, and which no entry reaches."""


def row_event(step: Step, finished_at: datetime) -> Event:
    """Make the last event of a job from its row, for followers of a stream that lost it.

    Its id is the same whoever makes it, so that a follower who comes back with it is known to
    have heard all.
    """
    return Event(f"{int(finished_at.timestamp() * 1000)}-{ROW_SEQUENCE}", step)


def is_of_row(event_id: str) -> bool:
    """Whether the id is that of a last event which was made from a row."""
    return event_id.endswith(f"-{ROW_SEQUENCE}")


def is_event_id(text: str) -> bool:
    """Whether a text can be the id of an event; it comes from outside."""
    if _EVENT_ID.fullmatch(text) is None:
        return False
    return all(int(part) <= ROW_SEQUENCE for part in text.split("-"))


def follows(event_id: str, other_id: str) -> bool:
    """Whether an event comes after another one."""
    return _order(event_id) > _order(other_id)


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = event_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def running_record(task_id: str, step: Step) -> str:
    """Return the record of a job that goes on: the custom state PROCESSING, the step as meta."""
    return _record(task_id, "PROCESSING", step.as_dict(), None)


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
