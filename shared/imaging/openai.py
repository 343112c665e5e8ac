"""The OpenAI Images API, and every server that speaks it: one call an attempt, by the SDK.

Imported only where `AI_MOCK_MODE` is false. The SDK makes no retries of its own: one that the
ledger does not see can be billed twice.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import openai
import openai.resources.images  # else the SDK imports it at the first call, in each child anew
import structlog
from openai.types import ImagesResponse

from shared.errors import (
    AttemptError,
    ConfigurationError,
    CorruptImage,
    EmptyResult,
    ProviderTimeout,
    ProviderUnavailable,
)
from shared.imaging.decoding import NotAPicture, measure
from shared.imaging.fetching import ImageFetcher
from shared.imaging.offers import is_gpt_image
from shared.imaging.openai_errors import attempt_error_of
from shared.imaging.params import image_seed
from shared.imaging.prices import PriceTable
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    Preview,
    ProviderAnswer,
    ProviderCall,
    Receipt,
)
from shared.imaging.styles import STYLES
from shared.settings import Settings

CONNECT_SECONDS = 5.0
IMAGE_MAX_BYTES = 64 * 1024 * 1024
"""Of one picture: ten times a 1536 x 1024 PNG of noise."""

_CHARGED = ChargeState.CHARGED.value
_UNKNOWN = ChargeState.UNKNOWN.value

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenAIOptions:
    """What every call says.

    Attributes:
        base_url: Of the API; None means OpenAI's own.
        quality: As the model names it; `auto` leaves the choice to it.
        output_format: `png`, `jpeg` or `webp`; only gpt-image models take it.
        partial_images: Previews of a picture that is streamed, 0 to 3; 0 means no stream.
        timeout_seconds: Longest silence in the middle of a call.
    """

    api_key: str
    base_url: str | None
    model: str
    quality: str = "auto"
    output_format: str = "png"
    partial_images: int = 3
    timeout_seconds: float = 120


class OpenAIProvider:
    """Makes pictures by calling an API; implements `shared.imaging.provider.ImageProvider`."""

    name = "openai"

    def __init__(self, options: OpenAIOptions, prices: PriceTable) -> None:
        self.model = options.model
        self._options = options
        self._prices = prices
        self._is_gpt_image = is_gpt_image(options.model)
        self._client = openai.OpenAI(
            api_key=options.api_key, base_url=options.base_url, max_retries=0
        )
        self._fetcher = ImageFetcher(self._client.base_url.host, IMAGE_MAX_BYTES)

    @classmethod
    def from_settings(cls, settings: Settings) -> "OpenAIProvider":
        """Take OPENAI_API_KEY and all other settings of this provider.

        Raises:
            ConfigurationError: There is no key.
        """
        key = settings.openai_api_key
        if key is None or not key.get_secret_value():
            raise ConfigurationError(
                "settings: OPENAI_API_KEY is not set (or set AI_MOCK_MODE=true)"
            )
        return cls(
            OpenAIOptions(
                api_key=key.get_secret_value(),
                base_url=settings.openai_base_url,
                model=settings.openai_model,
                quality=settings.openai_quality,
                output_format=settings.openai_output_format,
                partial_images=settings.openai_partial_images,
                timeout_seconds=settings.openai_timeout_seconds,
            ),
            PriceTable(settings.openai_prices),
        )

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Ask for the images of `call.positions` in one call; see `ImageProvider.generate`."""
        try:
            if self._streams(call):
                return self._generate_streamed(call)
            return self._generate_whole(call)
        except openai.OpenAIError as error:
            if isinstance(error, openai.APITimeoutError):
                # It may be the attempt's own time that was up.
                call.deadline.check()
            raise attempt_error_of(error) from error

    def _streams(self, call: ProviderCall) -> bool:
        return self._is_gpt_image and self._options.partial_images > 0 and len(call.positions) == 1

    def _generate_whole(self, call: ProviderCall) -> ProviderAnswer:
        answer = self._ask(call)(**self._parameters(call))
        if not isinstance(answer, ImagesResponse):
            # The SDK hands out the text of an answer that is not declared to be JSON.
            raise EmptyResult("The provider's answer is not JSON", charge_state=_UNKNOWN)
        request_id = getattr(answer, "_request_id", None)
        items = list(answer.data or ())[: len(call.positions)]
        if not items:
            raise EmptyResult(
                "The provider answered without a picture",
                charge_state=_UNKNOWN,
                request_id=request_id,
            )
        receipt = self._receipt(call, len(items), answer.usage, request_id)
        call.bill(ChargeState.CHARGED, receipt)
        pairs = zip(call.positions, items, strict=False)
        found = [self._receive(call, position, item.b64_json, item.url) for position, item in pairs]
        return self._answer(found, receipt)

    def _generate_streamed(self, call: ProviderCall) -> ProviderAnswer:
        [position] = call.positions
        expected = self._options.partial_images + 1
        parameters = self._parameters(call)
        with self._ask(call)(
            **parameters, stream=True, partial_images=self._options.partial_images
        ) as stream:
            request_id = stream.response.headers.get("x-request-id")
            for event in stream:
                call.deadline.check()
                if event.type.endswith(".partial_image"):
                    self._show(call, position, event)
                    call.step(min(event.partial_image_index + 1, expected) / expected)
                elif event.type.endswith(".completed"):
                    receipt = self._receipt(call, 1, event.usage, request_id)
                    call.bill(ChargeState.CHARGED, receipt)
                    found = [self._receive(call, position, event.b64_json, None)]
                    return self._answer(found, receipt)
        raise EmptyResult(
            "The provider's stream ended without a picture",
            charge_state=_UNKNOWN,
            request_id=request_id,
        )

    def _ask(self, call: ProviderCall) -> Callable[..., Any]:
        """Return the call to make: an edit where there is a picture to begin with."""
        images = self._client.images
        return images.generate if call.reference is None else images.edit

    def _parameters(self, call: ProviderCall) -> dict[str, Any]:
        size = f"{call.width_px}x{call.height_px}"
        parameters: dict[str, Any] = {
            "model": self.model,
            "prompt": _described(call),
            "n": len(call.positions),
            "size": size,
            "timeout": openai.Timeout(
                call.deadline.timeout(self._options.timeout_seconds),
                connect=call.deadline.timeout(CONNECT_SECONDS),
            ),
            # Servers that know it answer a repetition without a second bill.
            "extra_headers": {"Idempotency-Key": f"{call.job_id}-{call.attempt}"},
        }
        if call.reference is not None:
            media_type = call.reference.media_type
            name = f"reference.{media_type.rpartition('/')[2]}"
            parameters["image"] = (name, call.reference.data, media_type)
        if self._options.quality != "auto":
            parameters["quality"] = self._options.quality
        if self._is_gpt_image:
            parameters["output_format"] = self._options.output_format
        else:
            parameters["response_format"] = "b64_json"
        return parameters

    def _receive(
        self, call: ProviderCall, position: int, text: str | None, url: str | None
    ) -> GeneratedImage | AttemptError:
        """Return one picture of an answer, kept; or why it is none."""
        try:
            data = _decoded(text) if text else self._fetcher.fetch(url or "", call.deadline)
            measured = measure(data)
        except NotAPicture as error:
            return CorruptImage(f"What the provider sent {error}", charge_state=_CHARGED)
        except (CorruptImage, ProviderTimeout, ProviderUnavailable) as error:
            return error
        image = GeneratedImage(
            position=position,
            data=data,
            media_type=measured.media_type,
            width_px=measured.width_px,
            height_px=measured.height_px,
            seed=image_seed(call.seed, position),
            provider=self.name,
            model=self.model,
        )
        call.keep(image)
        return image

    def _answer(
        self, found: Sequence[GeneratedImage | AttemptError], receipt: Receipt
    ) -> ProviderAnswer:
        images = tuple(each for each in found if isinstance(each, GeneratedImage))
        for error in found:
            if isinstance(error, AttemptError):
                log.warning("picture not received", code=error.code, reason=str(error))
                if not images:
                    raise error
        return ProviderAnswer(images, ChargeState.CHARGED, receipt)

    def _show(self, call: ProviderCall, position: int, event: Any) -> None:
        """Hand on a preview; one that is no picture is nobody's loss."""
        try:
            data = _decoded(event.b64_json)
            measured = measure(data)
        except (NotAPicture, CorruptImage) as error:
            log.warning("preview not shown", reason=str(error))
            return
        call.preview(
            Preview(position, data, measured.media_type, measured.width_px, measured.height_px)
        )

    def _receipt(
        self, call: ProviderCall, images: int, usage: Any, request_id: str | None
    ) -> Receipt:
        units = {"images": images}
        for name in ("input_tokens", "output_tokens"):
            count = getattr(usage, name, None)
            if isinstance(count, int):
                units[name] = count
        size = f"{call.width_px}x{call.height_px}"
        price = self._prices.of(self._options.quality, size, images)
        return Receipt(self.name, self.model, request_id, units, price)


def _described(call: ProviderCall) -> str:
    """Return the prompt with what the style preset adds to it."""
    return f"{call.prompt}\n\n{STYLES[call.style].description}"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise CorruptImage("What the provider sent is not base64", charge_state=_CHARGED) from error
