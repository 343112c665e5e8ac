"""A job from its submission to files in a folder: what `generate`, `follow` and `demo` share."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from cli.api_client import ApiClient
from cli.display import Display
from cli.event_source import JobEvents
from cli.patience import Patience
from shared.api.schemas import ErrorBody, ImageBody, JobBody, RetryBody
from shared.errors import ConfigurationError, JobFailed, one_line
from shared.events.event import Event
from shared.status import JobStatus


class JobFollower:
    """Shows a job to its end.

    Raises (from `events` and `get`):
        ApiProblem: The job cannot be followed, say because there is none.
    """

    def __init__(self, client: ApiClient, job: JobBody, shown: Display) -> None:
        self._client = client
        self._job = job
        self._shown = shown
        self._patience = Patience(shown.note)
        self._waits = 0

    def events(self) -> Iterator[Event]:
        """Show and yield each event, to the last; say why an attempt is followed by another."""
        is_first = True
        for event in JobEvents(self._client, self._job, self._patience):
            self._shown.show(event.step)
            yield event
            if event.step.status is JobStatus.PENDING and not is_first:
                self._waits += 1
                self._explain_wait()
            is_first = False

    def finish(self) -> JobBody:
        """Follow to the end and return the job as it ended."""
        for _ in self.events():
            pass
        return self.get()

    def get(self) -> JobBody:
        """Return the job as it is now, once the API answers."""
        return self._patience.until_it_works(lambda: self._client.get(self._job.id))

    def load(self, image: ImageBody) -> bytes:
        """Return the bytes of an image, once the API answers."""
        return self._patience.until_it_works(lambda: self._client.load(image))

    def _explain_wait(self) -> None:
        job, number = self.get(), self._waits
        error = next((line.error for line in job.attempts if line.number == number), None)
        if error is not None:
            self._shown.note(f"attempt {number} failed: {describe_error(error)}")
        if job.retry is not None:
            self._shown.note(_when(job.retry))


def describe_error(error: ErrorBody) -> str:
    """Return why an attempt or a job failed, as one line."""
    return one_line(f"{error.message} ({error.code})")


def _when(retry: RetryBody) -> str:
    at = retry.next_attempt_at
    seconds = max(0.0, (at - datetime.now(UTC)).total_seconds())
    number = f"attempt {retry.attempt} of {retry.max_attempts}"
    return f"{number} comes in {seconds:.0f} s, at {at.astimezone():%H:%M:%S}"


def check_completed(job: JobBody) -> None:
    """Raise JobFailed, with the reason, unless the job has its images."""
    if job.status is JobStatus.FAILED:
        code = job.error.code if job.error else "internal"
        raise JobFailed(code, job.error.message if job.error else job.message)


def prepare_folder(folder: Path) -> None:
    """Make the folder if need be.

    Raises:
        ConfigurationError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
        raise ConfigurationError(f"cannot make the folder {folder}: {reason}") from error


def download(follower: JobFollower, job: JobBody, folder: Path) -> Sequence[Path]:
    """Write the images of a job into the folder; return their paths, by position.

    Raises:
        ConfigurationError: A file cannot be written.
    """
    return [
        write_file(folder / name_of(job.id, image), follower.load(image)) for image in job.images
    ]


def name_of(job_id: UUID, image: ImageBody) -> str:
    """Return the name of an image's file."""
    return f"{job_id}-{image.position}.{image.media_type.rpartition('/')[2]}"


def write_file(path: Path, data: bytes) -> Path:
    """Write a file and return its path.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    return path


@contextmanager
def left_running(job_id: UUID) -> Iterator[None]:
    """When a signal ends the program, say that the job goes on, and how to come back to it."""
    try:
        yield
    except SystemExit:
        sys.stderr.write(
            "darkroom: the job goes on; to see or to end it:\n"
            f"    darkroom follow {job_id}\n"
            f"    darkroom cancel {job_id}\n"
        )
        raise
