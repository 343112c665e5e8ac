"""What an event is, and the result record that Celery's clients read. Pure."""

import json
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
        id: Its entry in the stream; None when it was read from the row instead.
    """

    id: str | None
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
