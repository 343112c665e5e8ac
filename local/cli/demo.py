"""`darkroom demo`: one job from prompt to pictures, everything started and stopped around it."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from local.cli.display import Display, display
from local.cli.running import Running, running
from shared.errors import ConfigurationError, DarkroomError, JobFailed, ServiceUnavailable
from shared.events.model import Event
from shared.imaging.request import GenerationRequest
from shared.imaging.store import StoredImage
from shared.jobs.model import Job
from shared.status import JobStatus
from shared.wiring import build_services

IMAGES = 2
CHECK_SECONDS = 0.2


def run_demo(runtime_name: str, prompt: str, out: Path) -> None:
    """Run one job on a runtime of its own and leave its pictures in the folder.

    Raises:
        InvalidRequest: The prompt cannot be served.
        ConfigurationError: A setting or the folder is wrong.
        ServiceUnavailable: A server or the runtime did not come up, or ended too early.
        JobFailed: The job ended without pictures.
    """
    started_at = time.monotonic()
    request = GenerationRequest.from_untrusted({"prompt": prompt, "n": IMAGES})
    _prepare_folder(out)
    with display() as shown, running(runtime_name, shown.say) as ground:
        job = _run_job(ground, request, shown)
        images = ground.services.image_store.find_saved(job.id)
        paths = [_copy(ground, image, out) for image in images]
    for path, image in zip(paths, images, strict=True):
        typer.echo(f"{path}  {image.width_px} x {image.height_px} px  {image.size_bytes} bytes")
    seconds = time.monotonic() - started_at
    typer.echo(f"job {job.id} completed on the {runtime_name} runtime; {seconds:.1f} s in all")


def _prepare_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make the folder {out}: {error.strerror}") from error


def _run_job(ground: Running, request: GenerationRequest, shown: Display) -> Job:
    job = ground.services.submit(request)
    with _cancelled_unless_ended(ground, job):
        for event in _follow(ground, job):
            shown.show(event.step)
    job = ground.services.get(job.id)
    if job.status is JobStatus.FAILED:
        raise JobFailed((job.error or {}).get("code", ""), job.message)
    return job


@contextmanager
def _cancelled_unless_ended(ground: Running, job: Job) -> Iterator[None]:
    """Leave nobody's worker with a job that nobody waits for."""
    try:
        yield
    finally:
        with suppress(ServiceUnavailable):
            ground.services.cancel(job.id)


def _follow(ground: Running, job: Job) -> Iterator[Event]:
    """Yield the events of the job; raise once its runtime has ended without the last one."""
    heard: queue.SimpleQueue[Event | DarkroomError] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(ground, job, heard), daemon=True).start()
    while True:
        try:
            event = heard.get(timeout=CHECK_SECONDS)
        except queue.Empty:
            ground.check()
            continue
        if isinstance(event, DarkroomError):
            raise event
        yield event
        if event.is_last:
            return


def _listen(ground: Running, job: Job, heard: "queue.SimpleQueue[Event | DarkroomError]") -> None:
    # Services of its own: it may still be waiting while the others are being closed.
    services = build_services(ground.services.settings)
    try:
        for event in services.follow(job.id):
            heard.put(event)
    except DarkroomError as error:
        heard.put(error)


def _copy(ground: Running, image: StoredImage, out: Path) -> Path:
    job_id = image.storage_key.partition("/")[0]
    path = out / f"{job_id}-{image.position}.{image.media_type.rpartition('/')[2]}"
    try:
        path.write_bytes(ground.services.image_store.load(image.storage_key))
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    return path
