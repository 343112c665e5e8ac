"""The commands that talk to the API of DARKROOM_URL."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.errors import describe_error
from cli.output import say, say_json, say_lines
from shared.errors import one_line
from shared.status import JobStatus

if TYPE_CHECKING:
    from shared.api.schemas import AttemptBody, JobBody, QueueBody

client_app = typer.Typer()

WIDTH_OF_FILES = 160
"""Columns of the table where standard output is no terminal."""

_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))
_TABLE = "{:<36}  {:<10}  {:>5}  {:>6}  "

JobId = Annotated[UUID, typer.Argument(metavar="ID", help="The job's id.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs, and nothing else.")
]
ProductOption = Annotated[
    str | None, typer.Option(metavar="ID", help="The product that the images are of.")
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="A label; may be given several times."),
]
StyleOption = Annotated[str | None, typer.Option(metavar="NAME", help="Preset of scene and light.")]
PriorityOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="`low`, `normal` or `high`.")
]
ReferenceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="A picture to begin with, or the id of its asset; several."),
]
MaskOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="PNG: the first picture changes where it is transparent."),
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="The model; several are tried in their order."),
]
ModelOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model that makes the images.")
]


@client_app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the images show.")],
    model: ModelsOption = None,
    style: StyleOption = None,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="As 1024x1024, in pixels.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", help="How many images.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed and prompt give the same images.")
    ] = None,
    reference: ReferenceOption = None,
    mask: MaskOption = None,
    product: ProductOption = None,
    priority: PriorityOption = None,
    start_within: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", help="Cancel the job if it has not started by then."),
    ] = None,
    metadata: MetadataOption = None,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the images; made if need be.")
    ] = Path(),
    is_quote: Annotated[bool, typer.Option("--quote", help="Only show the price.")] = False,
    is_json: JsonOption = False,
) -> None:
    """Submit a job, follow it and download its images.

    Ctrl-C leaves the job running.
    """
    from cli.generate import metadata_of, models_of, run_generate

    chosen: dict[str, Any] = {
        "prompt": prompt,
        **models_of(model or ()),
        "style": style,
        "size": size,
        "n": n,
        "seed": seed,
        "product_id": product,
        "priority": priority,
        "start_within_seconds": start_within,
        "metadata": metadata_of(metadata) if metadata else None,
    }
    order = {name: value for name, value in chosen.items() if value is not None}
    run_generate(order, None if is_quote else out, reference or (), mask, is_json=is_json)


@client_app.command()
def jobs(
    status: Annotated[
        list[JobStatus] | None, typer.Option(help="Only these; may be given several times.")
    ] = None,
    product: ProductOption = None,
    model: ModelOption = None,
    limit: Annotated[int, typer.Option(help="How many, 100 at most.")] = 20,
    is_of_all: Annotated[
        bool, typer.Option("--all-workspaces", help="Those in the database of DATABASE_URL.")
    ] = False,
    is_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    from cli.api_client import connect
    from cli.operator import say_newest

    if is_of_all:
        say_newest(limit, status or (), product, model, is_json=is_json)
        return
    with connect() as client:
        page = client.page(limit, [one.value for one in status or ()], product, model)
    if is_json:
        say_json(page.model_dump_json())
        return
    width = shutil.get_terminal_size((WIDTH_OF_FILES, 0)).columns
    say(f"{_TABLE.format('ID', 'STATUS', 'DONE', 'AGE')}PROMPT")
    for job in page.items:
        say(_row(job, width))
    if page.next_cursor is not None:
        say("darkroom: there are older jobs; see --limit", err=True)


@client_app.command()
def show(job_id: JobId, is_json: JsonOption = False) -> None:
    """Show all that is known of a job."""
    from cli.api_client import connect

    with connect() as client:
        job = client.get(job_id)
    if is_json:
        say_json(job.model_dump_json())
    else:
        say_job(job)


@client_app.command()
def follow(
    job_id: JobId,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder to download the images to.")
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """Show the events of a job, from its first to its last."""
    from cli.generate import run_follow

    run_follow(job_id, out, is_json=is_json)


@client_app.command()
def cancel(job_id: JobId, is_json: JsonOption = False) -> None:
    """Ask for the end of a job."""
    from cli.api_client import connect

    with connect() as client:
        job = client.cancel(job_id)
    if is_json:
        say_json(job.model_dump_json())
    elif not job.status.is_terminal:
        say(f"job {job.id} ends at its next step")
    elif job.error is not None and job.error.code == "cancelled":
        say(f"job {job.id} is cancelled")
    else:
        say(f"job {job.id} had ended before: {job.status.value}")


def say_job(job: "JobBody", **more: str) -> None:
    """Print all that is known of a job, and what stands before it."""
    say_lines(f"{name:<10}{text}" for name, text in [*more.items(), *_describe(job)])


def age_of(moment: datetime, now: datetime) -> str:
    """Return how long ago something was, in its greatest unit."""
    seconds = max(0, int((now - moment).total_seconds()))
    for unit_seconds, name in _AGES:
        if seconds >= unit_seconds:
            return f"{seconds // unit_seconds} {name}"
    return f"{seconds} s"


def _row(job: "JobBody", width: int) -> str:
    from rich.text import Text

    age = age_of(job.created_at, datetime.now(UTC))
    start = _TABLE.format(str(job.id), job.status.value, f"{job.progress} %", age)
    prompt = Text(one_line(job.prompt))
    prompt.truncate(max(8, width - len(start)), overflow="ellipsis")
    return start + prompt.plain


def _describe(job: "JobBody") -> Iterator[tuple[str, str]]:
    """Yield all that is known of a job, each with its name."""
    yield ("job", str(job.id))
    yield ("status", f"{job.status.value}, {job.progress} %: {one_line(job.message)}")
    yield ("prompt", one_line(job.prompt))
    yield ("order", f"{job.n} x {job.style}, {job.size}, seed {job.seed}")
    if job.model is not None:
        yield ("model", one_line(job.model))
    if job.product_id is not None:
        yield ("product", job.product_id)
    for name, value in job.metadata.items():
        yield ("metadata", one_line(f"{name}={value}"))
    if job.priority != "normal":
        yield ("priority", job.priority)
    yield ("created", _moment(job.created_at))
    if job.queue is not None:
        yield ("queue", _place(job.queue))
    if job.start_by is not None and job.started_at is None:
        yield ("start by", _moment(job.start_by))
    if job.finished_at is not None:
        yield ("finished", _moment(job.finished_at))
    for attempt in job.attempts:
        yield ("attempt", f"{attempt.number} of {job.max_attempts}: {_outcome(attempt)}")
    if job.retry is not None:
        yield ("next try", _moment(job.retry.next_attempt_at))
    if job.cancel_requested_at is not None:
        yield ("cancelled", _moment(job.cancel_requested_at))
    for image in job.images:
        size = f"{image.width_px} x {image.height_px} px  {image.size_bytes} bytes"
        yield ("image", f"{image.position}  {size}  {image.media_type}")
    if job.missing:
        yield ("missing", f"{job.missing} of {job.n} images never came")
    if job.status is JobStatus.FAILED and job.error is not None:
        yield ("error", describe_error(job.error))


def _moment(moment: datetime) -> str:
    age = age_of(moment, datetime.now(UTC))
    ago = "" if moment > datetime.now(UTC) else f" ({age} ago)"
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}{ago}"


def _place(queue: "QueueBody") -> str:
    position = "far from its turn" if queue.position is None else f"position {queue.position}"
    start_at = queue.estimated_start_at
    return position if start_at is None else f"{position}, starts at about {_moment(start_at)}"


def _outcome(attempt: "AttemptBody") -> str:
    if attempt.finished_at is None:
        return "runs"
    seconds = (attempt.finished_at - attempt.started_at).total_seconds()
    reason = "" if attempt.error is None else f", {describe_error(attempt.error)}"
    return f"{attempt.outcome} after {seconds:.1f} s{reason}"
