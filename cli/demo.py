"""`darkroom demo`: one job from prompt to pictures, everything started and stopped around it."""

import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from cli.api_client import ApiClient
from cli.display import Display, display
from cli.errors import ApiUnreachable
from cli.event_source import JobEvents
from cli.following import check_completed, name_of, prepare_folder, write_file
from cli.generate import submit
from cli.patience import Patience
from devkit.running import Running, running
from shared.api.schemas import JobBody
from shared.errors import DarkroomError
from shared.events.event import Event
from shared.imaging.request import GenerationRequest
from shared.settings import ClientSettings, load_client_settings

IMAGES = 2
CHECK_SECONDS = 0.2
CANCEL_TIMEOUT_SECONDS = 3.0

_SETTINGS_OF_OTHERS = ("REQUIRE_API_KEYS", "PUBLIC_BASE_URL")
"""Of an API that others use; the demo's is for itself."""


def run_demo(runtime_name: str, prompt: str, out: Path) -> None:
    """Run one job over HTTP on a runtime of its own and leave its pictures in the folder.

    Raises:
        InvalidRequest: The prompt cannot be served.
        ConfigurationError: A setting or the folder is wrong.
        ServiceUnavailable: A server, the runtime or the API did not come up, or ended too early.
        JobFailed: The job ended without pictures.
    """
    started_at = time.monotonic()
    order = {"prompt": prompt, "n": IMAGES}
    # Found out before anything is started.
    GenerationRequest.from_untrusted(order)
    prepare_folder(out)
    with display() as shown, running(runtime_name, _environment(), shown.say) as ground:
        settings = _client_settings(ground)
        with ApiClient(settings) as client, _processes_blamed(ground):
            job = _run_job(ground, settings, client, order, shown)
            paths = [
                write_file(out / name_of(job.id, image), client.load(image)) for image in job.images
            ]
    for path, image in zip(paths, job.images, strict=True):
        typer.echo(f"{path}  {image.width_px} x {image.height_px} px  {image.size_bytes} bytes")
    seconds = time.monotonic() - started_at
    typer.echo(f"job {job.id} completed on the {runtime_name} runtime; {seconds:.1f} s in all")


def _environment() -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _SETTINGS_OF_OTHERS}
    return {**kept, "API_HOST": "127.0.0.1", "API_PORT": "0"}


def _client_settings(ground: Running) -> ClientSettings:
    # A key of another server would be refused here.
    needs_key = ground.settings.needs_api_keys
    key = load_client_settings().darkroom_api_key if needs_key else None
    return ClientSettings(darkroom_url=ground.api.url, darkroom_api_key=key)


@contextmanager
def _processes_blamed(ground: Running) -> Iterator[None]:
    """Say why the API cannot be reached, if that is known."""
    try:
        yield
    except ApiUnreachable:
        ground.harness.check()
        raise


def _run_job(
    ground: Running,
    settings: ClientSettings,
    client: ApiClient,
    order: Mapping[str, object],
    shown: Display,
) -> JobBody:
    job = submit(client, order)
    with _cancelled_unless_ended(client, job):
        for event in _follow(ground, settings, job):
            shown.show(event.step)
    job = client.get(job.id)
    check_completed(job)
    return job


@contextmanager
def _cancelled_unless_ended(client: ApiClient, job: JobBody) -> Iterator[None]:
    """Leave nobody's worker with a job that nobody waits for."""
    has_ended = False
    try:
        yield
        has_ended = True
    finally:
        if not has_ended:
            with suppress(DarkroomError):
                client.cancel(job.id, CANCEL_TIMEOUT_SECONDS)


def _follow(ground: Running, settings: ClientSettings, job: JobBody) -> Iterator[Event]:
    """Yield the events of the job; raise once its runtime or API has ended without the last."""
    heard: queue.SimpleQueue[Event | DarkroomError | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(settings, job, heard), daemon=True).start()
    while True:
        try:
            event = heard.get(timeout=CHECK_SECONDS)
        except queue.Empty:
            ground.harness.check()
            continue
        if isinstance(event, DarkroomError):
            raise event
        if event is None:
            return
        yield event


def _listen(
    settings: ClientSettings,
    job: JobBody,
    heard: "queue.SimpleQueue[Event | DarkroomError | None]",
) -> None:
    # A connection of its own: it may still be waiting while the other is being closed.
    try:
        with ApiClient(settings) as client:
            for event in JobEvents(client, job, Patience(_say_nothing)):
                heard.put(event)
        heard.put(None)
    except DarkroomError as error:
        heard.put(error)


def _say_nothing(_text: str) -> None:
    """Leave it to the check of the processes to say what is wrong."""
