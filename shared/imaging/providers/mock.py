"""The mock provider: waits, reports steps and draws real PNGs, without any network.

It is the provider wherever AI_MOCK_MODE is true. Tags in the prompt make it fail, hang or crash
on demand: see `mock_scripts`.
"""

import signal
import time
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from shared.deadline import Deadline, shielded
from shared.errors import PromptRejected, ProviderUnavailable, RateLimited
from shared.imaging.offers import Offer
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    PreviewImage,
    ProviderAnswer,
    ProviderCall,
)
from shared.imaging.providers.declaration import ProviderDeclaration, ProviderSettings
from shared.imaging.providers.error_rules import ErrorRule
from shared.imaging.providers.mock_scripts import Script, parse_script

STEPS = 4

_PREVIEW_SHARES = (8, 4, 2)
"""By what a preview's width and height are smaller than the image's, step by step."""

_HANG_PIECE_SECONDS = 0.05

_REJECTED = ErrorRule(PromptRejected, "`[[reject]]`")
_RATE_LIMITED = ErrorRule(RateLimited, "`[[rate-limit]]`")
_UNAVAILABLE = ErrorRule(ProviderUnavailable, "`[[fail]]`")


class MockSettings(ProviderSettings):
    """How long the mock takes, and whether prompts may script it."""

    mock_scripts: bool | None = Field(
        None, description="Obey `[[tags]]` in prompts (mock mode). Local default true, else false."
    )
    mock_step_seconds: float = Field(
        0.5, ge=0, le=60, description="Pause before each of the mock's 4 steps."
    )

    @model_validator(mode="after")
    def _refuse_in_production(self) -> Self:
        if self.mock_scripts and self.environment == "production":
            raise ValueError("MOCK_SCRIPTS=true is refused when ENVIRONMENT=production")
        return self

    @cached_property
    def obeys_scripts(self) -> bool:
        """Whether the mock obeys `[[tags]]` in prompts."""
        return self.environment == "local" if self.mock_scripts is None else self.mock_scripts


class MockProvider:
    """Draws pictures in four steps, each after a pause."""

    def __init__(self, settings: MockSettings) -> None:
        self._step_seconds = settings.mock_step_seconds
        self._obeys_scripts = settings.obeys_scripts

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Draw the images of `call.positions`; see `ImageProvider.generate`."""
        script = parse_script(call.prompt) if self._obeys_scripts else Script(call.prompt)
        if "reject" in script:
            raise _REJECTED.error(
                "The mock provider rejects this prompt", provider_code="content_policy_violation"
            )
        images: tuple[GeneratedImage, ...] = ()
        for step in range(1, STEPS + 1):
            _pause(self._step_seconds + script.number("slow") / STEPS, call.deadline)
            if step == STEPS:
                images = _draw_images(call, script)
            elif "preview" in script:
                _show_previews(call, script.prompt, _PREVIEW_SHARES[step - 1])
            call.step(step / STEPS)
            if step == 1:
                _stall(script)
            elif step == 2:
                _misbehave(script, call.attempt)
        return ProviderAnswer(images, ChargeState.NONE)


PROVIDER = ProviderDeclaration(
    name="mock",
    settings=MockSettings,
    offers=(Offer("mock-1", previews_max=3),),
    default_model=lambda _settings: "mock-1",
    build=MockProvider,
    price=lambda _settings, _model, _size, _images: 0,
    errors=(_REJECTED, _RATE_LIMITED, _UNAVAILABLE),
)


def _draw_images(call: ProviderCall, script: Script) -> tuple[GeneratedImage, ...]:
    coming = len(call.positions) - int(script.number("short"))
    return tuple(
        GeneratedImage(
            position=position,
            data=_print_of(call, script.prompt, position),
            media_type="image/png",
            width_px=call.width_px,
            height_px=call.height_px,
            seed=call.seed_of(position),
            provider=PROVIDER.name,
            model=call.model,
        )
        for position in call.positions[: max(0, coming)]
    )


def _show_previews(call: ProviderCall, prompt: str, share: int) -> None:
    size = (call.width_px // share, call.height_px // share)
    for position in call.positions:
        data = _print_of(call, prompt, position, share)
        call.preview(PreviewImage(position, data, "image/png", *size))


def _print_of(call: ProviderCall, prompt: str, position: int, share: int = 1) -> bytes:
    # Imported here because a worker with a real provider never needs the drawing library.
    from shared.imaging.mock_print import MockPrint, draw_png

    call.deadline.check()
    return draw_png(
        MockPrint(
            prompt,
            call.style,
            call.width_px // share,
            call.height_px // share,
            call.seed_of(position),
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
    ends_at = time.monotonic() + script.number("hang")
    while time.monotonic() < ends_at:
        time.sleep(_HANG_PIECE_SECONDS)
    if "block" in script:
        # As in a library that blocks in C, no signal handler runs before the end.
        with shielded():
            time.sleep(script.number("block"))


def _misbehave(script: Script, attempt: int) -> None:
    if attempt <= script.number("crash"):
        signal.raise_signal(signal.SIGKILL)
    if attempt == 1 and "rate-limit" in script:
        seconds = script.number("rate-limit")
        raise _RATE_LIMITED.error(
            f"The mock provider asks to come back in {seconds:g} s",
            retry_after_seconds=seconds,
            provider_code="rate_limit_exceeded",
        )
    if attempt <= script.number("fail"):
        raise _UNAVAILABLE.error(
            f"The mock provider is unavailable in attempt {attempt}", provider_code="server_error"
        )
