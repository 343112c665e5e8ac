"""The mock provider and its scripts."""

import signal
import subprocess
import sys
import time
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from shared.deadline import Deadline
from shared.errors import (
    ImagesMissing,
    LeaseLost,
    PromptRejected,
    ProviderUnavailable,
    RateLimited,
    SoftTimeLimitReached,
)
from shared.imaging.mock_print import MockPrint, draw_png
from shared.imaging.models import OfferedModel
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState, PreviewImage, ProviderAnswer, ProviderCall
from shared.imaging.providers.declaration import Offer
from shared.imaging.providers.mock import MockProvider, MockSettings
from shared.imaging.service import ImageService
from tests.support.provider_suite import call_of

JOB_ID = UUID(int=4)
QUICK = MockSettings(mock_step_seconds=0)

PRELUDE = """
import signal, sys, time
from uuid import UUID
from shared.deadline import Deadline
from shared.imaging.providers.mock import MockProvider, MockSettings
from shared.imaging.params import ImageParams
from shared.imaging.provider import ProviderCall

class Struck(Exception):
    pass

def strike(number, frame):
    raise Struck

def step(share):
    print(share, flush=True)
    signal.setitimer(signal.ITIMER_REAL, seconds_after_step)

seconds_after_step = 0

def generate(prompt, attempt=1):
    call = ProviderCall(
        UUID(int=4),
        "mock-1",
        ImageParams(prompt=prompt, style="minimal", size="256x256", seed=5),
        (0,),
        attempt,
        step,
        Deadline(60),
    )
    return MockProvider(MockSettings(mock_step_seconds=0)).generate(call)
"""


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that may die of a signal, after the prelude."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + program], capture_output=True, text=True, timeout=20
    )


class Run:
    """One call of the mock provider, with the shares it reported."""

    def __init__(
        self, prompt: str, attempt: int = 1, n: int = 1, deadline: Deadline | None = None
    ) -> None:
        self.shares: list[float] = []
        self.previews: list[PreviewImage] = []
        self._call = ProviderCall(
            job_id=JOB_ID,
            model="mock-1",
            params=ImageParams(prompt=prompt, style="minimal", size="256x256", seed=5),
            positions=tuple(range(n)),
            attempt=attempt,
            step=self.shares.append,
            deadline=deadline or Deadline(60),
            preview=self.previews.append,
        )

    def generate(self, *, obeys_scripts: bool = True, step_seconds: float = 0) -> ProviderAnswer:
        """Call the provider."""
        settings = MockSettings(mock_step_seconds=step_seconds, mock_scripts=obeys_scripts)
        return MockProvider(settings).generate(self._call)


def test_plain_prompt_takes_four_steps_to_all_its_images() -> None:
    """Each image has its position, its own seed, and free bytes."""
    run = Run("a mug", n=3)
    answer = run.generate()
    assert run.shares == [0.25, 0.5, 0.75, 1.0]
    assert [(image.position, image.seed) for image in answer.images] == [(0, 5), (1, 6), (2, 7)]
    assert {image.provider for image in answer.images} == {"mock"}
    assert {image.model for image in answer.images} == {"mock-1"}
    assert len({image.data for image in answer.images}) == 3
    assert answer.charge_state is ChargeState.NONE


def test_each_step_is_preceded_by_the_pause() -> None:
    """Four steps take four pauses."""
    started_at = time.monotonic()
    Run("a mug").generate(step_seconds=0.02)
    assert time.monotonic() - started_at >= 0.08


def test_tags_change_nothing_in_the_picture() -> None:
    """A scripted job that succeeds in the end shows what it would have shown without."""
    plain = Run("a mug", attempt=2).generate()
    assert Run("a [[fail:1]] mug", attempt=2).generate() == plain


def test_picture_is_the_print_of_its_own_seed_position_and_attempt() -> None:
    """The seed of an image row, its position and its attempt are all that is needed."""
    first, second = Run("a mug", n=2, attempt=3).generate().images
    for image in (first, second):
        again = MockPrint("a mug", "minimal", 256, 256, image.seed, image.position, attempt=3)
        assert draw_png(again) == image.data


@pytest.mark.parametrize("tag", ["[[fail:9]]", "[[reject]]", "[[crash]]", "[[hang]]", "[[short]]"])
def test_tags_are_text_where_scripts_are_not_obeyed(tag: str) -> None:
    """Outside development no prompt can script the provider."""
    answer = Run(f"a mug {tag}").generate(obeys_scripts=False)
    assert len(answer.images) == 1
    assert answer.images[0].data != Run("a mug").generate().images[0].data


@pytest.mark.parametrize(("attempt", "fails"), [(1, True), (2, True), (3, False)])
def test_fail_makes_the_first_attempts_fail_halfway(attempt: int, fails: bool) -> None:
    """The provider is unavailable after the second step, up to attempt k."""
    run = Run("a mug [[fail:2]]", attempt)
    if not fails:
        assert len(run.generate().images) == 1
        return
    with pytest.raises(ProviderUnavailable) as raised:
        run.generate()
    assert run.shares == [0.25, 0.5]
    assert raised.value.charge_state == "none"


def test_rate_limit_asks_the_first_attempt_to_come_back() -> None:
    """The wait is the one asked for; the second attempt succeeds."""
    run = Run("a mug [[rate-limit:2.5]]")
    with pytest.raises(RateLimited, match=r"in 2.5 s") as raised:
        run.generate()
    assert run.shares == [0.25, 0.5]
    assert raised.value.retry_after_seconds == 2.5
    assert raised.value.provider_code == "rate_limit_exceeded"
    assert len(Run("a mug [[rate-limit:2.5]]", attempt=2).generate().images) == 1


def test_reject_refuses_the_prompt_before_the_first_step() -> None:
    """No step is reported, and the provider's own word comes along."""
    run = Run("a mug [[reject]]")
    with pytest.raises(PromptRejected) as raised:
        run.generate()
    assert run.shares == []
    assert raised.value.provider_code == "content_policy_violation"


@pytest.mark.parametrize("tag", ["[[hang:0.1]]", "[[block:0.1]]", "[[slow:0.1]]"])
def test_delays_with_an_end_go_on_after_it(tag: str) -> None:
    """The pictures come, only later."""
    started_at = time.monotonic()
    run = Run(f"a mug {tag}")
    assert len(run.generate().images) == 1
    assert time.monotonic() - started_at >= 0.1
    assert run.shares == [0.25, 0.5, 0.75, 1.0]


def test_slow_keeps_the_deadline() -> None:
    """The pauses end at the deadline, long before they would by themselves."""
    started_at = time.monotonic()
    with pytest.raises(SoftTimeLimitReached):
        Run("a mug [[slow:40]]", deadline=Deadline(0.1)).generate()
    assert time.monotonic() - started_at < 2


def test_hang_ignores_the_deadline() -> None:
    """It outlasts the deadline, which is noticed only at the next step."""
    started_at = time.monotonic()
    with pytest.raises(SoftTimeLimitReached):
        Run("a mug [[hang:0.3]]", deadline=Deadline(0.1)).generate()
    assert time.monotonic() - started_at >= 0.3


def test_hang_is_ended_by_a_signal() -> None:
    """A handler that raises gets through between two short sleeps."""
    done = run_python(
        "signal.signal(signal.SIGALRM, strike); seconds_after_step = 0.1\n"
        "try:\n    generate('[[hang]]')\nexcept Struck:\n    print('struck')\n"
    )
    assert done.stdout.splitlines() == ["0.25", "struck"], done.stderr


def test_pause_is_ended_by_a_signal() -> None:
    """An ordinary wait of the mock does not hold back the soft limit."""
    done = run_python(
        "signal.signal(signal.SIGALRM, strike)\n"
        "try:\n    signal.setitimer(signal.ITIMER_REAL, 0.2); generate('[[slow:80]]')\n"
        "except Struck:\n    print('struck')\n"
    )
    assert done.stdout.splitlines() == ["struck"], done.stderr


def test_block_holds_back_a_signal_until_it_returns() -> None:
    """The handler of a signal that comes within the block runs only after all of it."""
    done = run_python(
        "import re, threading; main = threading.main_thread()\n"
        "def is_masked():\n"
        "    status = open(f'/proc/self/task/{main.native_id}/status').read()\n"
        "    mask = int(re.search(r'SigBlk:\\s*(\\w+)', status).group(1), 16)\n"
        "    return bool(mask >> (signal.SIGALRM - 1) & 1)\n"
        "def send():\n"
        "    while not is_masked(): time.sleep(0.005)\n"
        "    signal.pthread_kill(main.ident, signal.SIGALRM)\n"
        "signal.signal(signal.SIGALRM, strike); started_at = time.monotonic()\n"
        "threading.Thread(target=send, daemon=True).start()\n"
        "try:\n    generate('[[block:0.5]]')\nexcept Struck:\n"
        "    print('late' if time.monotonic() - started_at >= 0.5 else 'early')\n"
    )
    assert done.stdout.splitlines() == ["0.25", "late"], done.stderr


def test_block_lets_other_threads_run() -> None:
    """The interpreter lock is released, so that a lease keeper stays alive."""
    done = run_python(
        "import threading; ticks = []\n"
        "stop = threading.Event()\n"
        "def tick():\n    while not stop.wait(0.01): ticks.append(1)\n"
        "thread = threading.Thread(target=tick); thread.start()\n"
        "generate('[[block:0.3]]'); stop.set(); thread.join(); print('ticks', len(ticks) >= 10)\n"
    )
    assert done.stdout.splitlines()[-1] == "ticks True", done.stderr


@pytest.mark.parametrize(
    ("tag", "attempt", "crashes"),
    [("[[crash]]", 7, True), ("[[crash:1]]", 1, True), ("[[crash:1]]", 2, False)],
)
def test_crash_kills_the_process_after_the_second_step(
    tag: str, attempt: int, crashes: bool
) -> None:
    """SIGKILL ends it at once on the attempts named, and on no other."""
    done = run_python(f"generate('{tag}', {attempt}); print('alive')")
    assert done.returncode == (-signal.SIGKILL if crashes else 0), done.stderr
    assert done.stdout.split()[:2] == ["0.25", "0.5"]
    assert ("alive" in done.stdout) is not crashes


@pytest.mark.parametrize(("tag", "positions"), [("[[short]]", [0, 1]), ("[[short:2]]", [0])])
def test_short_leaves_out_the_last_images(tag: str, positions: list[int]) -> None:
    """Fewer images come than were asked for."""
    answer = Run(f"a mug {tag}", n=3).generate()
    assert [image.position for image in answer.images] == positions


def test_short_of_all_images_is_images_missing() -> None:
    """Through the service, an answer without images is an error that says so."""
    with pytest.raises(ImagesMissing, match=r"1 of 1 images"):
        ImageService({"mock": MockProvider(QUICK)}).process_generation(
            JOB_ID,
            ImageParams.from_row({"prompt": "a mug [[short:5]]", "size": "256x256"}, JOB_ID),
            model=OfferedModel("mock", Offer("mock-1")),
            positions=(0,),
            deadline=Deadline(60),
            on_progress=lambda _progress: None,
        )


def test_preview_shows_each_picture_three_times_and_changes_none() -> None:
    """Growing; only where it is asked for."""
    plain, shown = Run("a mug", n=2), Run("a mug [[preview]]", n=2)
    assert shown.generate() == plain.generate()
    assert shown.shares == plain.shares
    assert plain.previews == []
    sizes = [(preview.position, preview.width_px) for preview in shown.previews]
    assert sizes == [(0, 32), (1, 32), (0, 64), (1, 64), (0, 128), (1, 128)]
    assert len({preview.data for preview in shown.previews}) == 6


def test_scripts_combine() -> None:
    """Slow and failing: the failure comes after half of the delay."""
    started_at = time.monotonic()
    run = Run("[[slow:0.2]] a mug [[fail:1]]")
    with pytest.raises(ProviderUnavailable):
        run.generate()
    assert time.monotonic() - started_at >= 0.1
    assert run.shares == [0.25, 0.5]


def test_what_step_raises_ends_the_call() -> None:
    """A cancelled or outdated attempt stops at the next step."""

    def lose_lease(_share: float) -> None:
        raise LeaseLost("gone")

    call = ProviderCall(
        JOB_ID, "mock-1", ImageParams(prompt="a mug", seed=5), (0,), 1, lose_lease, Deadline(60)
    )
    with pytest.raises(LeaseLost):
        MockProvider(QUICK).generate(call)


def test_worker_path_does_not_import_the_drawing_library() -> None:
    """A worker pays for Pillow with its first mocked picture, and else never."""
    done = run_python(
        "import shared.imaging.service, shared.adapters.disk_images\n"
        "print([name for name in ('PIL', 'shared.imaging.request') if name in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("options", "media_type", "mode"),
    [
        ({}, "image/png", "P"),
        ({"background": "transparent"}, "image/png", "RGBA"),
        ({"output_format": "jpeg", "output_compression": 10}, "image/jpeg", "RGB"),
        ({"output_format": "webp", "background": "transparent"}, "image/webp", "RGBA"),
        ({"size": "auto"}, "image/png", "P"),
    ],
)
def test_images_have_the_form_that_was_asked_for(
    options: dict[str, Any], media_type: str, mode: str
) -> None:
    """Transparent where the print is light; the model's own size is the default one."""
    call = call_of(params=ImageParams(prompt="a mug", seed=7, **{"size": "256x256", **options}))
    [image] = MockProvider(QUICK).generate(call).images
    assert image.media_type == media_type
    with Image.open(BytesIO(image.data)) as picture:
        assert (picture.get_format_mimetype(), picture.mode) == (media_type, mode)
        assert picture.width == (1024 if "size" in options else 256)
