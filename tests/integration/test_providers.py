"""The provider suite for each provider: the mock, OpenAI over real HTTP, and one from outside."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.deadline import Deadline
from shared.errors import AttemptError, SoftTimeLimitReached
from shared.imaging.provider import ChargeState, ImageProvider, Receipt
from shared.imaging.providers import flux, gemini, mock, openai
from shared.imaging.providers.flux import FluxSettings
from shared.imaging.providers.gemini import GeminiSettings
from shared.imaging.providers.mock import MockSettings
from shared.imaging.providers.openai import OpenAISettings
from tests.support.flux_api import KEY as FLUX_KEY
from tests.support.flux_api import PRICE as FLUX_PRICE
from tests.support.flux_api import FluxApi
from tests.support.gemini_api import KEY as GEMINI_KEY
from tests.support.gemini_api import PRICE, GeminiApi
from tests.support.images_api import KEY, MODEL, ImagesApi
from tests.support.outside import stencil
from tests.support.provider_suite import REFERENCE, ProviderSuite, Subject, call_of


@pytest.fixture
def images_api() -> Iterator[ImagesApi]:
    """Give a server of the API."""
    with ImagesApi() as api:
        yield api


def openai_settings(base_url: str, **options: Any) -> OpenAISettings:
    """Return settings that name this server."""
    values = {"openai_model": MODEL, "openai_prices": {"*": 40_000}, **options}
    return OpenAISettings(openai_api_key=KEY, openai_base_url=base_url, **values)


def openai_of(api: ImagesApi, **options: Any) -> ImageProvider:
    """Return the provider that calls this server."""
    return openai.PROVIDER.connect(openai_settings(api.base_url, **options))


class TestMock(ProviderSuite):
    """The mock provider."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Give the mock, which scripts make misbehave."""
        return Subject(
            mock.PROVIDER,
            MockSettings(mock_step_seconds=0.01),
            rejected="a mug [[reject]]",
            unavailable="a mug [[fail]]",
            shown="a mug [[preview]]",
            fewer="a mug [[short:2]]",
        )

    def test_the_reference_shows(self, subject: Subject) -> None:
        """The same each time, in the image and in its previews."""
        plain = subject.provider.generate(subject.call()).images
        first, again = (
            subject.provider.generate(subject.call(references=(REFERENCE,))).images
            for _ in range(2)
        )
        assert first == again
        assert first != plain


class TestOpenAI(ProviderSuite):
    """The OpenAI Images API."""

    @pytest.fixture
    def subject(self, images_api: ImagesApi) -> Subject:
        """Give OpenAI, whose server faults in the prompt make misbehave."""
        return Subject(
            openai.PROVIDER,
            openai_settings(images_api.base_url),
            rejected="a mug <<bad-prompt>>",
            unavailable="a mug <<error>>",
            shown="a mug",
            fewer="a mug <<two-fewer>>",
        )

    def test_the_reference_is_sent(self, subject: Subject, images_api: ImagesApi) -> None:
        """Byte for byte."""
        subject.provider.generate(subject.call(references=(REFERENCE,)))
        assert [call.references for call in images_api.calls] == [[REFERENCE.data]]


class TestGemini(ProviderSuite):
    """The Gemini API."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        """Give Gemini, whose server faults in the prompt make misbehave."""
        with GeminiApi() as api:
            prices = {"*": PRICE}
            yield Subject(
                gemini.PROVIDER,
                GeminiSettings(
                    gemini_api_key=GEMINI_KEY, gemini_base_url=api.base_url, gemini_prices=prices
                ),
                rejected="a mug <<blocked>>",
                unavailable="a mug <<error>>",
                shown="a mug",
                fewer="a mug <<only:2>>",
            )

    def test_what_a_preview_raises_ends_the_call(self, subject: Subject) -> None:
        """It shows none."""
        shown: list[object] = []
        subject.provider.generate(subject.call(preview=shown.append))
        assert shown == []


class TestFlux(ProviderSuite):
    """The API of Black Forest Labs."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        """Give FLUX, whose server faults in the prompt make misbehave."""
        with FluxApi() as api:
            yield Subject(
                flux.PROVIDER,
                FluxSettings(
                    flux_api_key=FLUX_KEY,
                    flux_base_url=api.base_url,
                    flux_prices={"*": FLUX_PRICE},
                    flux_poll_seconds=0.02,
                ),
                rejected="a mug <<moderated>>",
                unavailable="a mug <<error>>",
                shown="a mug",
                fewer="a mug <<only:2>>",
            )

    def test_what_a_preview_raises_ends_the_call(self, subject: Subject) -> None:
        """It shows none."""
        shown: list[object] = []
        subject.provider.generate(subject.call(preview=shown.append))
        assert shown == []


class TestOutside(ProviderSuite):
    """A provider that is one file outside Darkroom."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Give the stencil."""
        return Subject(
            stencil.PROVIDER,
            stencil.StencilSettings(stencil_key="k"),
            rejected="a mug <<refused>>",
            unavailable="a mug <<busy>>",
            shown="a mug",
            fewer="a mug <<fewer>>",
        )


# -- what only a call over HTTP has ----------------------------------------------------------


def openai_call(prompt: str = "a mug", n: int = 1, **fields: Any) -> Any:
    """Return a call for n images of the model that the server knows."""
    return call_of(prompt, n, model=MODEL, **fields)


def test_receipt_says_what_was_billed_under_which_name(images_api: ImagesApi) -> None:
    """The provider's own name for the call, its units, and the price by the table."""
    answer = openai_of(images_api).generate(openai_call(n=2))
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
    provider = openai_of(images_api, openai_quality="high", openai_output_format="webp")
    provider.generate(openai_call(n=2))
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


def test_the_model_of_the_call_is_asked(images_api: ImagesApi) -> None:
    """Whatever the settings name, in its own dialect."""
    answer = openai_of(images_api).generate(call_of(model="another-server's"))
    [call] = images_api.calls
    assert call.body["model"] == answer.images[0].model == "another-server's"
    assert call.body["response_format"] == "b64_json"
    assert not {"stream", "output_format"} & call.body.keys()


def test_parameters_that_are_to_be_left_out_are_not_sent(images_api: ImagesApi) -> None:
    """Whichever they are; a vendor's name before the model changes nothing."""
    provider = openai_of(images_api, openai_omit=("output_format", "stream"), openai_quality="high")
    provider.generate(call_of(model=f"vendor/{MODEL}"))
    [call] = images_api.calls
    assert call.body["model"] == f"vendor/{MODEL}"
    assert not {"stream", "output_format", "response_format"} & call.body.keys()
    assert call.body["quality"] == "high"


def test_server_that_is_not_there_was_not_sent_anything() -> None:
    """So nothing was billed."""
    provider = openai.PROVIDER.connect(openai_settings("http://127.0.0.1:9/v1"))
    with pytest.raises(AttemptError) as raised:
        provider.generate(openai_call())
    assert (raised.value.code, raised.value.charge_state) == ("provider_unavailable", "none")


def test_silence_up_to_the_deadline_is_the_soft_limit(images_api: ImagesApi) -> None:
    """And not an error of the provider that would be tried again."""
    with pytest.raises(SoftTimeLimitReached):
        openai_of(images_api).generate(openai_call("a mug <<slow>>", deadline=Deadline(0.6)))


@pytest.mark.parametrize(
    ("fault", "code", "charge_state"),
    [
        ("corrupt", "corrupt_image", "charged"),
        ("private-url", "unusable_image", "charged"),
        ("html", "empty_result", "unknown"),
        ("empty", "empty_result", "unknown"),
        ("half-body", "provider_unavailable", "unknown"),
        ("reset-body", "provider_unavailable", "unknown"),
        ("quota", "quota_exceeded", "none"),
        ("rate-limit", "rate_limited", "none"),
        ("overloaded", "provider_overloaded", "none"),
        ("error", "provider_unavailable", "unknown"),
        ("forbidden", "provider_authentication", "none"),
        ("bad-request", "request_rejected", "none"),
        ("bad-prompt", "prompt_rejected", "none"),
        ("bad-output", "output_rejected", "none"),
    ],
)
def test_answers_without_an_image(
    images_api: ImagesApi, fault: str, code: str, charge_state: str
) -> None:
    """Never a success; code and bill are those of a line in the declared table."""
    with pytest.raises(AttemptError) as raised:
        openai_of(images_api).generate(openai_call(f"a mug <<{fault}>>", n=2))
    error = raised.value
    assert (error.code, error.charge_state) == (code, charge_state)
    declared = {(rule.kind, rule.charge) for rule in openai.PROVIDER.errors}
    assert (type(error), ChargeState(charge_state)) in declared
