"""The commands that talk to the API of DARKROOM_URL, and their options."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from shared.status import JobStatus

client_app = typer.Typer()

JobId = Annotated[UUID, typer.Argument(metavar="ID", help="The job's id.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs, and nothing else.")
]
ProductOption = Annotated[
    str | None, typer.Option(metavar="ID", help="The product that the images are of.")
]


@client_app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the images show.")],
    style: Annotated[
        str | None, typer.Option(metavar="NAME", help="Preset of scene and light.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="As 1024x1024, in pixels.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", help="How many images.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed and prompt give the same images.")
    ] = None,
    product: ProductOption = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A label; may be given several times."),
    ] = None,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the images; made if need be.")
    ] = Path(),
    is_json: JsonOption = False,
) -> None:
    """Submit a job, follow it and download its images.

    Ctrl-C leaves the job running.
    """
    from cli.generate import metadata_of, run_generate

    chosen: dict[str, Any] = {
        "prompt": prompt,
        "style": style,
        "size": size,
        "n": n,
        "seed": seed,
        "product_id": product,
        "metadata": metadata_of(metadata) if metadata else None,
    }
    order = {name: value for name, value in chosen.items() if value is not None}
    run_generate(order, out, is_json=is_json)


@client_app.command()
def jobs(
    status: Annotated[
        list[JobStatus] | None, typer.Option(help="Only these; may be given several times.")
    ] = None,
    product: ProductOption = None,
    limit: Annotated[int, typer.Option(help="How many, 100 at most.")] = 20,
    is_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    from cli.jobs import run_jobs

    run_jobs([one.value for one in status or ()], product, limit, is_json=is_json)


@client_app.command()
def show(job_id: JobId, is_json: JsonOption = False) -> None:
    """Show all that is known of a job."""
    from cli.jobs import run_show

    run_show(job_id, is_json=is_json)


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
    from cli.jobs import run_cancel

    run_cancel(job_id, is_json=is_json)
