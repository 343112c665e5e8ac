"""The mock provider: waits, reports steps and draws real PNGs, without any network.

It is the provider wherever AI_MOCK_MODE is true. Tags in the prompt make it fail, hang or crash
on demand: see `mock_scripts`.
"""

import signal
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from shared import errors
from shared.deadline import Deadline, shielded
from shared.imaging.params import AUTO, REFERENCES_MAX, SIZE_NAMES
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    PreviewImage,
    ProviderAnswer,
    ProviderCall,
)
from shared.imaging.providers.declaration import ANY, Offer, ProviderDeclaration, ProviderSettings
from shared.imaging.providers.error_rules import ErrorRule
from shared.imaging.providers.mock_scripts import parse_script

STEPS = 4

_PREVIEW_SHARES = (8, 4, 2)
"""By what a preview's width and height are smaller than the image's, step by step."""

_HANG_PIECE_SECONDS = 0.05


class _OwnRateLimit(errors.RateLimited):
    """A limit of one prompt: those without the tag know nothing of it."""

    is_of_all_jobs = False


_REJECTED = ErrorRule(errors.PromptRejected, "`[[reject]]`")
_BUSY = ErrorRule(errors.RateLimited, "`[[busy]]`")
_RATE_LIMITED = ErrorRule(_OwnRateLimit, "`[[rate-limit]]`, `[[rate-limited]]`")
_UNAVAILABLE = ErrorRule(errors.ProviderUnavailable, "`[[fail]]`")

_RULES = {
    "rate-limited": _RATE_LIMITED,
    "overloaded": ErrorRule(errors.ProviderOverloaded, "`[[overloaded]]`"),
    "timeout": ErrorRule(errors.ProviderTimeout, "`[[timeout]]`"),
    "quota": ErrorRule(errors.QuotaExceeded, "`[[quota]]`"),
    "bad-key": ErrorRule(errors.ProviderRefusedKey, "`[[bad-key]]`"),
    "bad-request": ErrorRule(errors.RequestRejected, "`[[bad-request]]`"),
    "output-rejected": ErrorRule(errors.OutputRejected, "`[[output-rejected]]`"),
    "empty": ErrorRule(errors.EmptyResult, "`[[empty]]`"),
    "corrupt": ErrorRule(errors.CorruptImage, "`[[corrupt]]`"),
    "unusable": ErrorRule(errors.UnusableImage, "`[[unusable]]`"),
}

_OTHERS: Mapping[str, type[errors.DarkroomError]] = {
    "charge-unknown": errors.ChargeUnknown,
    "cost-limit": errors.CostLimitReached,
    "budget": errors.BudgetSpent,
    "storage": errors.StorageUnavailable,
    "database": errors.ServiceUnavailable,
    "invalid": errors.InvalidRequest,
    "internal": errors.UnexpectedError,
    "cancelled": errors.JobCancelled,
}
"""What no provider ends with, by the tags that stand in for the part that does."""


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
        script: Mapping[str, float] = {}
        prompt = call.params.prompt
        if self._obeys_scripts:
            prompt, script = parse_script(prompt)
        if "reject" in script:
            raise _REJECTED.error(
                "The mock provider rejects this prompt", provider_code="content_policy_violation"
            )
        coming = call.positions[: max(0, len(call.positions) - int(script.get("short", 0)))]
        images: tuple[GeneratedImage, ...] = ()
        for step in range(1, STEPS + 1):
            _pause(self._step_seconds + script.get("slow", 0) / STEPS, call.deadline)
            if step == STEPS:
                images = tuple(
                    call.finished(_draw(call, prompt, position), PROVIDER.name)
                    for position in coming
                )
            elif "preview" in script:
                for position in call.positions:
                    call.preview(_draw(call, prompt, position, _PREVIEW_SHARES[step - 1]))
            call.step(step / STEPS)
            if step == 1:
                _stall(script)
            elif step == 2:
                _misbehave(script, call.attempt)
        return ProviderAnswer(images, ChargeState.NONE)


PROVIDER = ProviderDeclaration(
    name="mock",
    settings=MockSettings,
    offers=(
        Offer(
            "mock-1",
            (*SIZE_NAMES, AUTO),
            previews_max=3,
            references_max=REFERENCES_MAX,
            takes_mask=True,
            qualities=ANY,
            backgrounds=("opaque", "transparent"),
            output_formats=("png", "jpeg", "webp"),
            moderations=("low",),
        ),
        Offer("mock-mini", ("256x256", "512x512"), images_max=2, references_max=0),
    ),
    default_model=lambda _settings: "mock-1",
    build=MockProvider,
    price=lambda *_order, **_quality: 0,
    errors=(_REJECTED, _UNAVAILABLE, _BUSY, *_RULES.values()),
    is_free=True,
)


def _draw(call: ProviderCall, prompt: str, position: int, share: int = 1) -> PreviewImage:
    # Imported here because a worker with a real provider never needs the drawing library.
    from shared.imaging.mock_print import MockPrint, draw_png, finish

    call.deadline.check()
    width_px, height_px = (side // share for side in call.params.size_px)
    options = call.params
    wanted = MockPrint(
        *(prompt, options.style, width_px, height_px),
        *(call.seed_of(position), position, call.attempt),
        tuple(each.data for each in call.references),
        None if call.mask is None else call.mask.data,
    )
    data = finish(
        draw_png(wanted),
        kind := options.output_format or "png",
        options.output_compression,
        is_transparent=options.background == "transparent",
    )
    return PreviewImage(position, data, f"image/{kind}", width_px, height_px)


def _pause(seconds: float, deadline: Deadline) -> None:
    if seconds > 0:
        time.sleep(deadline.timeout(seconds))
    deadline.check()


def _stall(script: Mapping[str, float]) -> None:
    ends_at = time.monotonic() + script.get("hang", 0)
    while time.monotonic() < ends_at:
        time.sleep(_HANG_PIECE_SECONDS)
    if "block" in script:
        # As in a library that blocks in C, no signal handler runs before the end.
        with shielded():
            time.sleep(script.get("block", 0))


def _misbehave(script: Mapping[str, float], attempt: int) -> None:
    if attempt <= script.get("crash", 0):
        signal.raise_signal(signal.SIGKILL)
    for name, rule in (("rate-limit", _RATE_LIMITED), ("busy", _BUSY)):
        if attempt == 1 and name in script:
            seconds = script[name]
            raise rule.error(
                f"The mock provider asks to come back in {seconds:g} s",
                retry_after_seconds=seconds,
                provider_code="rate_limit_exceeded",
            )
    for name, attempts in script.items():
        if attempt <= attempts and name in _RULES:
            raise _RULES[name].error(f"The mock provider acts out [[{name}]]", provider_code=name)
        if attempt <= attempts and name in _OTHERS:
            raise _OTHERS[name](f"The mock provider acts out [[{name}]]")
    if attempt <= script.get("fail", 0):
        raise _UNAVAILABLE.error(
            f"The mock provider is unavailable in attempt {attempt}", provider_code="server_error"
        )
