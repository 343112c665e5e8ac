"""`darkroom jobs`, `show` and `cancel`: single requests to the API, shown to a person."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import typer
from rich.text import Text

from cli.api_client import ApiClient
from cli.following import describe_error
from shared.api.schemas import AttemptBody, ImageBody, JobBody
from shared.errors import one_line
from shared.settings import load_client_settings
from shared.status import JobStatus

WIDTH_OF_FILES = 160
"""Columns of the table where standard output is no terminal."""

_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))
_TABLE = "{:<36}  {:<10}  {:>5}  {:>6}  "
_HEAD = _TABLE.format("ID", "STATUS", "DONE", "AGE")


def run_jobs(statuses: Sequence[str], product_id: str | None, limit: int, *, is_json: bool) -> None:
    """Print the newest jobs, one a line."""
    with ApiClient(load_client_settings()) as client:
        page = client.page(limit, statuses, product_id)
    if is_json:
        typer.echo(page.model_dump_json())
        return
    width = shutil.get_terminal_size((WIDTH_OF_FILES, 0)).columns
    typer.echo(f"{_HEAD}PROMPT")
    for job in page.items:
        typer.echo(_row(job, width))
    if page.next_cursor is not None:
        typer.echo("darkroom: there are older jobs; see --limit", err=True)


def run_show(job_id: UUID, *, is_json: bool) -> None:
    """Print all that is known of a job."""
    with ApiClient(load_client_settings()) as client:
        job = client.get(job_id)
    typer.echo(job.model_dump_json() if is_json else "\n".join(_describe(job)))


def run_cancel(job_id: UUID, *, is_json: bool) -> None:
    """Ask for the end of a job, and print what came of it."""
    with ApiClient(load_client_settings()) as client:
        job = client.cancel(job_id)
    if is_json:
        typer.echo(job.model_dump_json())
    elif not job.status.is_terminal:
        typer.echo(f"job {job.id} ends at its next step")
    elif job.error is not None and job.error.code == "cancelled":
        typer.echo(f"job {job.id} is cancelled")
    else:
        typer.echo(f"job {job.id} had ended before: {job.status.value}")


def age_of(moment: datetime, now: datetime) -> str:
    """Return how long ago something was, in its greatest unit."""
    seconds = max(0, int((now - moment).total_seconds()))
    for unit_seconds, name in _AGES:
        if seconds >= unit_seconds:
            return f"{seconds // unit_seconds} {name}"
    return f"{seconds} s"


def _row(job: JobBody, width: int) -> str:
    age = age_of(job.created_at, datetime.now(UTC))
    start = _TABLE.format(str(job.id), job.status.value, f"{job.progress} %", age)
    prompt = Text(one_line(job.prompt))
    prompt.truncate(max(8, width - len(start)), overflow="ellipsis")
    return start + prompt.plain


def _describe(job: JobBody) -> Iterator[str]:
    yield _line("job", str(job.id))
    yield _line("status", f"{job.status.value}, {job.progress} %: {one_line(job.message)}")
    yield _line("prompt", one_line(job.prompt))
    yield _line("order", f"{job.n} x {job.style}, {job.size}, seed {job.seed}")
    if job.product_id is not None:
        yield _line("product", job.product_id)
    for name, value in job.metadata.items():
        yield _line("metadata", one_line(f"{name}={value}"))
    yield _line("created", _moment(job.created_at))
    if job.finished_at is not None:
        yield _line("finished", _moment(job.finished_at))
    for attempt in job.attempts:
        yield _line("attempt", f"{attempt.number} of {job.max_attempts}: {_outcome(attempt)}")
    if job.retry is not None:
        yield _line("next try", _moment(job.retry.next_attempt_at))
    if job.cancel_requested_at is not None:
        yield _line("cancelled", _moment(job.cancel_requested_at))
    for image in job.images:
        yield _line("image", _picture(image))
    if job.missing:
        yield _line("missing", f"{job.missing} of {job.n} images never came")
    if job.status is JobStatus.FAILED and job.error is not None:
        yield _line("error", describe_error(job.error))


def _line(name: str, text: str) -> str:
    return f"{name:<10}{text}"


def _moment(moment: datetime) -> str:
    age = age_of(moment, datetime.now(UTC))
    ago = "" if moment > datetime.now(UTC) else f" ({age} ago)"
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}{ago}"


def _outcome(attempt: AttemptBody) -> str:
    if attempt.finished_at is None:
        return "runs"
    seconds = (attempt.finished_at - attempt.started_at).total_seconds()
    reason = "" if attempt.error is None else f", {describe_error(attempt.error)}"
    return f"{attempt.outcome} after {seconds:.1f} s{reason}"


def _picture(image: ImageBody) -> str:
    size = f"{image.width_px} x {image.height_px} px"
    return f"{image.position}  {size}  {image.size_bytes} bytes  {image.media_type}"
