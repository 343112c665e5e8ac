"""The four states of a job, the steps it goes through, and its end: as wire and rows name them."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID


class JobStatus(str, Enum):
    """State of a job: the value goes on the wire, the name into the database column."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def label(self) -> str:
        """The state as a person reads it."""
        return _LABELS[self]

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this state never changes again."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED)


_LABELS = {
    JobStatus.PENDING: "Waiting",
    JobStatus.PROCESSING: "In progress",
    JobStatus.COMPLETED: "Done",
    JobStatus.FAILED: "Failed",
}


@dataclass(frozen=True, slots=True)
class Step:
    """Where a job stands: the three keys of the wire, which are also columns of its row.

    Attributes:
        progress: 0 to 100, never falling inside one attempt.
        message: One line for a person.
    """

    status: JobStatus
    progress: int
    message: str

    def as_dict(self) -> dict[str, str | int]:
        """Return exactly the three keys of the wire."""
        return {
            "status": self.status.value,
            "progress": self.progress,
            "message": self.message,
        }

    def as_json(self) -> str:
        """Return the JSON object that is published."""
        return json.dumps(self.as_dict(), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended: all that its last event and its result record say.

    Attributes:
        token: The fence of the process that ended it.
        image_urls: Of a completed job, by position.
        error_code: Of a failed job.
        waited_for: Of a job that ended before an attempt: the attempt's number, else 0.
        max_attempts: With `waited_for`: how many the job might have used.
    """

    job_id: UUID
    task_id: str
    token: int
    step: Step
    finished_at: datetime
    image_urls: tuple[str, ...] = ()
    error_code: str = ""
    waited_for: int = 0
    max_attempts: int = 0


QUEUED = Step(JobStatus.PENDING, 0, "Queued")
STARTING = Step(JobStatus.PROCESSING, 5, "Starting...")
PREPARING = Step(JobStatus.PROCESSING, 10, "Processing...")
SAVING = Step(JobStatus.PROCESSING, 95, "Saving...")
COMPLETED = Step(JobStatus.COMPLETED, 100, "Completed")


def rendering(progress: int) -> Step:
    """Return the step while the provider works, at 10 to 90."""
    return Step(JobStatus.PROCESSING, progress, "Rendering...")


def waiting(attempt: int, max_attempts: int) -> Step:
    """Return the step of a job that waits for the given attempt, counted from 1."""
    if attempt <= 1:
        return QUEUED
    return Step(JobStatus.PENDING, 0, f"Retrying (attempt {attempt} of {max_attempts})")


def failed(progress: int, reason: str) -> Step:
    """Return the last step of a failed job: the progress it had reached, and the reason."""
    return Step(JobStatus.FAILED, progress, reason)
