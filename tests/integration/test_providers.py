"""What every provider promises: one suite for the mock and for OpenAI's API over real HTTP."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from shared.deadline import Deadline
from shared.errors import (
    AttemptError,
    JobCancelled,
    LeaseLost,
    PromptRejected,
    SoftTimeLimitReached,
)
from shared.imaging.decoding import measure
from shared.imaging.mock import MockProvider
from shared.imaging.openai import OpenAIOptions, OpenAIProvider
from shared.imaging.params import ImageParams
from shared.imaging.prices import PriceTable
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    ImageProvider,
    Preview,
    ProviderAnswer,
    ProviderCall,
    Receipt,
    Reference,
)
from shared.imaging.service import ImageService
from tests.support.images_api import KEY, MODEL, ImagesApi, png

REJECTED = {"mock": "a mug [[reject]]", "openai": "a mug <<bad-prompt>>"}
UNAVAILABLE = {"mock": "a mug [[fail]]", "openai": "a mug <<error>>"}
SHOWN = {"mock": "a mug [[preview]]", "openai": "a mug"}
FEWER = {"mock": "a mug [[short:2]]", "openai": "a mug <<two-fewer>>"}


REFERENCE = png(300, 200)


@pytest.fixture
def images_api() -> Iterator[ImagesApi]:
    """Give a server of the API."""
    with ImagesApi() as api:
        yield api


@pytest.fixture(params=["mock", "openai"])
def provider(request: pytest.FixtureRequest, images_api: ImagesApi) -> ImageProvider:
    """Give each provider."""
    if request.param == "mock":
        return MockProvider(0.01, obeys_scripts=True)
    return openai_of(images_api)


def openai_of(api: ImagesApi, **options: Any) -> OpenAIProvider:
    """Return the provider that calls this server."""
    return OpenAIProvider(
        OpenAIOptions(KEY, api.base_url, MODEL, **options), PriceTable({"*": 40_000})
    )


def call_of(prompt: str = "a mug", n: int = 1, **fields: Any) -> ProviderCall:
    """Return a call for n pictures."""
    values: dict[str, Any] = {
        "job_id": uuid4(),
        "prompt": prompt,
        "style": "studio-white",
        "width_px": 1024,
        "height_px": 1024,
        "seed": 7,
        "positions": tuple(range(n)),
        "attempt": 1,
        "step": lambda _share: None,
        "deadline": Deadline(20),
        **fields,
    }
    return ProviderCall(**values)


def test_pictures_come_as_they_are_described(provider: ImageProvider) -> None:
    """One a position, decodable, of the size and kind that is said."""
    answer = provider.generate(call_of(n=2))
    assert [image.position for image in answer.images] == [0, 1]
    for image in answer.images:
        measured = measure(image.data)
        assert (image.media_type, image.width_px, image.height_px) == (
            measured.media_type,
            measured.width_px,
            measured.height_px,
        )
        assert (image.provider, image.model) == (provider.name, provider.model)


def test_reference_shows_in_the_picture(provider: ImageProvider, images_api: ImagesApi) -> None:
    """Or is sent to the provider, as the file that it is."""
    plain = provider.generate(call_of())
    answer = provider.generate(call_of(reference=Reference(REFERENCE, "image/png")))
    assert answer.images[0].width_px == 1024
    if provider.name == "openai":
        assert [call.reference for call in images_api.calls] == [None, REFERENCE]
    else:
        assert answer.images[0].data != plain.images[0].data
        again = provider.generate(call_of(reference=Reference(REFERENCE, "image/png")))
        assert again.images[0].data == answer.images[0].data


def test_only_missing_positions_are_asked_for(provider: ImageProvider) -> None:
    """Under their own numbers."""
    answer = provider.generate(call_of(positions=(1, 3)))
    assert [image.position for image in answer.images] == [1, 3]


def test_steps_never_fall_and_stay_within_the_whole(provider: ImageProvider) -> None:
    """Of one picture, which each provider can show as previews."""
    shares: list[float] = []
    provider.generate(call_of(step=shares.append))
    assert shares == sorted(shares)
    assert len(shares) >= 3
    assert all(0 < share <= 1 for share in shares)


def test_what_a_step_raises_ends_the_call(provider: ImageProvider) -> None:
    """As it is: the attempt was cancelled."""

    def cancel(_share: float) -> None:
        raise JobCancelled

    with pytest.raises(JobCancelled):
        provider.generate(call_of(step=cancel))


def test_deadline_that_has_passed_ends_the_call(provider: ImageProvider) -> None:
    """Before anything is sent."""
    with pytest.raises(SoftTimeLimitReached):
        provider.generate(call_of(deadline=Deadline(0)))


def test_fewer_pictures_are_an_answer(provider: ImageProvider) -> None:
    """Those that came."""
    answer = provider.generate(call_of(FEWER[provider.name], n=4))
    assert [image.position for image in answer.images] == [0, 1]


@pytest.mark.parametrize(
    ("prompts", "code", "retryable"),
    [(REJECTED, PromptRejected.code, False), (UNAVAILABLE, "provider_unavailable", True)],
)
def test_errors_are_those_of_the_vocabulary(
    provider: ImageProvider, prompts: dict[str, str], code: str, retryable: bool
) -> None:
    """With what is known of the bill, and the provider's own word."""
    with pytest.raises(AttemptError) as raised:
        provider.generate(call_of(prompts[provider.name]))
    error = raised.value
    assert (error.code, error.retryable) == (code, retryable)
    assert error.charge_state in {state.value for state in ChargeState}
    assert error.provider_code


def test_kept_pictures_are_those_of_the_answer(provider: ImageProvider) -> None:
    """A provider that hands them out early hands out the same."""
    kept: list[GeneratedImage] = []
    answer = provider.generate(call_of(n=2, keep=kept.append))
    assert kept in ([], list(answer.images))


def test_previews_come_before_their_steps_as_they_are_described(provider: ImageProvider) -> None:
    """Three of one picture, each another; whole, and of the position that was asked for."""
    seen: list[Preview | float] = []
    answer = provider.generate(
        call_of(SHOWN[provider.name], positions=(2,), preview=seen.append, step=seen.append)
    )
    previews = [each for each in seen if isinstance(each, Preview)]
    assert [type(each) for each in seen[:6]] == [Preview, float] * 3
    assert len({preview.data for preview in previews}) == 3
    for preview in previews:
        measured = measure(preview.data)
        assert (preview.position, preview.media_type) == (2, measured.media_type)
        assert (preview.width_px, preview.height_px) == (measured.width_px, measured.height_px)
    assert [image.position for image in answer.images] == [2]


def test_what_a_preview_raises_ends_the_call(provider: ImageProvider) -> None:
    """As it is: the attempt has lost its lease."""

    def lose(_preview: Preview) -> None:
        raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        provider.generate(call_of(SHOWN[provider.name], preview=lose))


def test_the_service_passes_on_what_a_provider_returns(provider: ImageProvider) -> None:
    """Bill and pictures, as soon as they are there."""
    billed: list[tuple[ChargeState, Receipt | None]] = []
    job_id = uuid4()
    answer: ProviderAnswer = ImageService(provider).process_generation(
        job_id,
        ImageParams.from_row({"prompt": "a mug", "size": "1024x1024", "n": 2}, job_id),
        positions=(0, 1),
        deadline=Deadline(20),
        on_progress=lambda _progress: None,
        on_bill=lambda state, receipt: billed.append((state, receipt)),
    )
    assert billed in ([], [(answer.charge_state, answer.receipt)])


# -- what only a call over HTTP has ----------------------------------------------------------


def test_receipt_says_what_was_billed_under_which_name(images_api: ImagesApi) -> None:
    """The provider's own name for the call, its units, and the price by the table."""
    answer = openai_of(images_api).generate(call_of(n=2))
    [call] = images_api.calls
    assert answer.receipt == Receipt(
        "openai",
        MODEL,
        call.request_id,
        {"images": 2, "input_tokens": 12, "output_tokens": 1056},
        80_000,
    )


def test_call_says_model_size_quality_and_format(images_api: ImagesApi) -> None:
    """And nothing that the model would not understand."""
    openai_of(images_api, quality="high", output_format="webp").generate(call_of(n=2))
    [call] = images_api.calls
    shown = {name: value for name, value in call.body.items() if name != "prompt"}
    assert shown == {
        "model": MODEL,
        "n": 2,
        "size": "1024x1024",
        "quality": "high",
        "output_format": "webp",
    }
    assert call.prompt.startswith("a mug\n\nSeamless white backdrop")


def test_server_that_is_not_there_was_not_sent_anything() -> None:
    """So nothing was billed."""
    options = OpenAIOptions(KEY, "http://127.0.0.1:9/v1", MODEL)
    with pytest.raises(AttemptError) as raised:
        OpenAIProvider(options, PriceTable({})).generate(call_of())
    assert (raised.value.code, raised.value.charge_state) == ("provider_unavailable", "none")


def test_silence_up_to_the_deadline_is_the_soft_limit(images_api: ImagesApi) -> None:
    """And not an error of the provider that would be tried again."""
    with pytest.raises(SoftTimeLimitReached):
        openai_of(images_api).generate(call_of("a mug <<slow>>", deadline=Deadline(0.6)))


@pytest.mark.parametrize(
    ("fault", "code", "charge_state"),
    [
        ("corrupt", "corrupt_image", "charged"),
        ("private-url", "provider_unavailable", "charged"),
        ("html", "empty_result", "unknown"),
        ("empty", "empty_result", "unknown"),
        ("half-body", "provider_unavailable", "unknown"),
        ("reset-body", "provider_unavailable", "unknown"),
    ],
)
def test_answers_that_are_none(
    images_api: ImagesApi, fault: str, code: str, charge_state: str
) -> None:
    """Never a success; what is known of the bill is said."""
    with pytest.raises(AttemptError) as raised:
        openai_of(images_api).generate(call_of(f"a mug <<{fault}>>", n=2))
    assert (raised.value.code, raised.value.charge_state) == (code, charge_state)
