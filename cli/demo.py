"""`darkroom demo`: one job from prompt to pictures, everything started and stopped around it."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cli.api_client import ApiClient
from cli.display import display
from cli.following import JobFollower, Patience
from cli.generate import check_completed, download, prepare_folder, submit
from cli.output import say
from devkit.running import Running, running
from shared.api.schemas import JobBody
from shared.errors import DarkroomError
from shared.imaging.request import GenerationRequest
from shared.settings import ClientSettings, load_client_settings

IMAGES = 2
CHECK_SECONDS = 0.2
CANCEL_TIMEOUT_SECONDS = 3.0

_SETTINGS_OF_OTHERS = ("REQUIRE_API_KEYS", "PUBLIC_BASE_URL")
"""Of an API that others use; the demo's is for itself."""


def run_demo(runtime_name: str, prompt: str, out: Path) -> None:
    """Run one job over HTTP on a runtime of its own and leave its pictures in the folder."""
    started_at = time.monotonic()
    order = {"prompt": prompt, "n": IMAGES}
    # Checked before anything is started.
    GenerationRequest.from_untrusted(order)
    prepare_folder(out)
    with (
        display() as shown,
        running(runtime_name, _environment(), shown.say) as ground,
        ApiClient(_client_settings(ground)) as client,
        _ending_api_with_runtime(ground),
    ):
        job = submit(client, order)
        # An API that cannot be reached has ended, or has been ended.
        patience = Patience(lambda _text: ground.harness.check())
        follower = JobFollower(client, job, shown, patience)
        with ExitStack() as undo:
            # Given servers may have other workers, which would run it.
            undo.callback(_cancel, client, job)
            job = follower.finish()
            undo.pop_all()
        check_completed(job)
        paths = download(follower, job, out)
    for path, image in zip(paths, job.images, strict=True):
        say(f"{path}  {image.width_px} x {image.height_px} px  {image.size_bytes} bytes")
    seconds = time.monotonic() - started_at
    say(f"job {job.id} completed on the {runtime_name} runtime; {seconds:.1f} s in all")


def _environment() -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _SETTINGS_OF_OTHERS}
    return {**kept, "API_HOST": "127.0.0.1", "API_PORT": "0"}


def _client_settings(ground: Running) -> ClientSettings:
    # A key of another server would be refused here.
    needs_key = ground.settings.needs_api_keys
    key = load_client_settings().darkroom_api_key if needs_key else None
    return ClientSettings(darkroom_url=ground.api.url, darkroom_api_key=key)


@contextmanager
def _ending_api_with_runtime(ground: Running) -> Iterator[None]:
    """End the API as soon as the runtime has ended: its streams would wait for a dead worker."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(CHECK_SECONDS):
            if not ground.runtime.is_running:
                ground.api.kill()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _cancel(client: ApiClient, job: JobBody) -> None:
    with suppress(DarkroomError):
        client.cancel(job.id, CANCEL_TIMEOUT_SECONDS)
