"""The mock provider: waits, reports steps and draws real PNGs, with no network at all.

Used wherever `AI_MOCK_MODE` is true. Where scripts are obeyed, tags in the prompt make it fail,
hang or crash on demand: see `shared.imaging.scripts`.
"""

import os
import signal
import time

from shared.deadline import Deadline
from shared.errors import PromptRejected, ProviderUnavailable, RateLimited
from shared.imaging.params import image_seed
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    Preview,
    ProviderAnswer,
    ProviderCall,
)
from shared.imaging.scripts import Script, parse_script

STEPS = 4
MODEL = "mock-1"

_PREVIEW_PARTS = (8, 4, 2)
"""What part of the picture's width and height its preview has, by step: it grows."""

_HANG_PIECE_SECONDS = 0.05


class MockProvider:
    """Draws pictures in four steps, each after a pause.

    Args:
        step_seconds: The pause before each step.
        obeys_scripts: Whether tags in prompts are obeyed; otherwise they are plain text.
    """

    name = "mock"
    model = MODEL

    def __init__(self, step_seconds: float, obeys_scripts: bool) -> None:
        self._step_seconds = step_seconds
        self._obeys_scripts = obeys_scripts

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Draw the images of `call.positions`; see `ImageProvider.generate`."""
        script = parse_script(call.prompt) if self._obeys_scripts else Script(call.prompt)
        if script.rejects_prompt:
            raise PromptRejected(
                "The mock provider rejects this prompt",
                charge_state=ChargeState.NONE.value,
                provider_code="content_policy_violation",
            )
        images: tuple[GeneratedImage, ...] = ()
        for step in range(1, STEPS + 1):
            _pause(self._step_seconds + script.slow_seconds / STEPS, call.deadline)
            if step == STEPS:
                images = self._draw(call, script)
            elif script.shows_previews:
                _show(call, script.prompt, _PREVIEW_PARTS[step - 1])
            call.step(step / STEPS)
            if step == 1:
                _stall(script)
            elif step == 2:
                _misbehave(script, call.attempt)
        return ProviderAnswer(images, ChargeState.NONE)

    def _draw(self, call: ProviderCall, script: Script) -> tuple[GeneratedImage, ...]:
        coming = call.positions[: max(0, len(call.positions) - script.missing_images)]
        return tuple(self._draw_one(call, script.prompt, position) for position in coming)

    def _draw_one(self, call: ProviderCall, prompt: str, position: int) -> GeneratedImage:
        call.deadline.check()
        return GeneratedImage(
            position=position,
            data=_print_of(call, prompt, position),
            media_type="image/png",
            width_px=call.width_px,
            height_px=call.height_px,
            seed=image_seed(call.seed, position),
            provider=self.name,
            model=MODEL,
        )


def _show(call: ProviderCall, prompt: str, part: int) -> None:
    for position in call.positions:
        data = _print_of(call, prompt, position, part)
        size = (call.width_px // part, call.height_px // part)
        call.preview(Preview(position, data, "image/png", *size))


def _print_of(call: ProviderCall, prompt: str, position: int, part: int = 1) -> bytes:
    # Imported here because a worker with a real provider never needs the drawing library.
    from shared.imaging.mock_print import MockPrint, draw_png

    return draw_png(
        MockPrint(
            prompt,
            call.style,
            call.width_px // part,
            call.height_px // part,
            image_seed(call.seed, position),
            position,
            call.attempt,
            call.reference.data if call.reference else None,
        )
    )


def _pause(seconds: float, deadline: Deadline) -> None:
    if seconds > 0:
        time.sleep(deadline.timeout(seconds))
    deadline.check()


def _stall(script: Script) -> None:
    ends_at = time.monotonic() + script.hang_seconds
    while time.monotonic() < ends_at:
        time.sleep(_HANG_PIECE_SECONDS)
    if script.block_seconds > 0:
        from shared.imaging.c_block import block_in_c

        block_in_c(script.block_seconds)


def _misbehave(script: Script, attempt: int) -> None:
    if attempt <= script.crashing_attempts:
        os.kill(os.getpid(), signal.SIGKILL)
    if attempt == 1 and script.rate_limit_seconds is not None:
        raise RateLimited(
            f"The mock provider asks to come back in {script.rate_limit_seconds:g} s",
            charge_state=ChargeState.NONE.value,
            retry_after_seconds=script.rate_limit_seconds,
            provider_code="rate_limit_exceeded",
        )
    if attempt <= script.failing_attempts:
        raise ProviderUnavailable(
            f"The mock provider is unavailable in attempt {attempt}",
            charge_state=ChargeState.NONE.value,
            provider_code="server_error",
        )
