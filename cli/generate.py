"""`darkroom generate` and `darkroom follow`: a job over HTTP, shown live to its end."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import typer

from cli.api_client import ApiClient
from cli.display import Display, display
from cli.errors import ApiProblem, ApiUnreachable
from cli.following import (
    JobFollower,
    check_completed,
    download,
    left_running,
    prepare_folder,
)
from shared.api.schemas import JobBody
from shared.errors import InvalidRequest
from shared.settings import load_client_settings

SUBMIT_TRIES = 5
FIRST_WAIT_SECONDS = 0.5


def run_generate(order: Mapping[str, Any], out: Path, *, is_json: bool) -> None:
    """Submit a job, follow it and leave its images in the folder.

    Raises:
        ApiProblem: The API refuses the request.
        ApiUnreachable: No answer came.
        JobFailed: The job ended without images.
    """
    prepare_folder(out)
    with ApiClient(load_client_settings()) as client:
        with _unknown_whether_taken():
            job = submit(client, order)
        _follow_to_files(client, job, out, is_json=is_json)


def run_follow(job_id: UUID, out: Path | None, *, is_json: bool) -> None:
    """Show the events of a job from its first; with a folder, leave its images there.

    Raises:
        ApiProblem: There is no such job.
        ApiUnreachable: No answer came.
        JobFailed: The job ended without images.
    """
    if out is not None:
        prepare_folder(out)
    with ApiClient(load_client_settings()) as client:
        job = client.get(job_id)
        if is_json:
            _follow_as_json(client, job, out)
        else:
            _follow_to_files(client, job, out, is_json=False)


def submit(client: ApiClient, order: Mapping[str, Any]) -> JobBody:
    """Submit a job, again if no answer came; the key makes it one job in any case.

    Raises:
        ApiProblem: The API refuses the request.
        ApiUnreachable: No answer came.
    """
    key = uuid4().hex
    may_be_taken = False
    for number in range(1, SUBMIT_TRIES + 1):
        try:
            return client.submit(order, key)
        except ApiUnreachable as error:
            may_be_taken = may_be_taken or error.was_sent
            if not may_be_taken or number == SUBMIT_TRIES:
                raise
        except ApiProblem as problem:
            if problem.status < 500 or number == SUBMIT_TRIES:
                raise
        time.sleep(FIRST_WAIT_SECONDS * 2 ** (number - 1))
    raise AssertionError("the last try returns or raises")


def metadata_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read `key=value` pairs.

    Raises:
        InvalidRequest: One has no `=`.
    """
    for pair in pairs:
        if "=" not in pair:
            raise InvalidRequest(f"metadata: must be key=value, not {pair[:64]!r}")
    return dict(pair.split("=", 1) for pair in pairs)


def _follow_to_files(client: ApiClient, job: JobBody, out: Path | None, *, is_json: bool) -> None:
    with left_running(job.id), display(is_quiet=is_json) as shown:
        _announce(job, shown, is_json=is_json)
        follower = JobFollower(client, job, shown)
        job = follower.finish()
        paths = download(follower, job, out) if out is not None else []
    if is_json:
        typer.echo(job.model_dump_json())
    check_completed(job)
    _warn_of_missing(job)
    if not is_json:
        for path in paths:
            typer.echo(path)


def _follow_as_json(client: ApiClient, job: JobBody, out: Path | None) -> None:
    with left_running(job.id), display(is_quiet=True) as shown:
        follower = JobFollower(client, job, shown)
        for event in follower.events():
            typer.echo(event.step.as_json())
        job = follower.get()
        if out is not None:
            download(follower, job, out)
    check_completed(job)


def _announce(job: JobBody, shown: Display, *, is_json: bool) -> None:
    if not is_json:
        shown.note(f"job {job.id}")


def _warn_of_missing(job: JobBody) -> None:
    if job.missing:
        sys.stderr.write(f"darkroom: {job.missing} of {job.n} images never came\n")


@contextmanager
def _unknown_whether_taken() -> Iterator[None]:
    try:
        yield
    except SystemExit:
        sys.stderr.write(
            "darkroom: stopped before the API answered; `darkroom jobs` shows whether it "
            "took the job\n"
        )
        raise
