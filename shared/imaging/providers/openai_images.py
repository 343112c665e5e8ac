"""Calls of the OpenAI Images API by the official SDK: one call an attempt.

Imported where `openai.PROVIDER` is built, and nowhere else. The SDK makes no retries of its own:
one that the ledger does not show can be billed twice.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import openai
import openai.resources.images  # else the SDK imports it at the first call, in each child anew
import structlog
from openai.types import ImagesResponse

from shared.errors import (
    AttemptError,
    CorruptImage,
    ProviderTimeout,
    ProviderUnavailable,
    one_line,
)
from shared.imaging.decoding import NotAPicture, measure
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    PreviewImage,
    ProviderAnswer,
    ProviderCall,
    Receipt,
)
from shared.imaging.providers import error_rules
from shared.imaging.providers.error_rules import find_rule, retry_after_seconds
from shared.imaging.providers.fetching import ImageFetcher
from shared.imaging.providers.openai import ERRORS, PROVIDER, WITHHELD, OpenAISettings
from shared.imaging.styles import STYLES

CONNECT_SECONDS = 5.0
IMAGE_MAX_BYTES = 64 * 1024 * 1024
"""Of one picture: ten times a 1536 x 1024 PNG of noise."""

_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})
"""Exceptions of the SDK's HTTP client (httpx2) that come before the first byte goes out."""

log = structlog.get_logger(__name__)


class OpenAIProvider:
    """Makes pictures by calling an API; implements `shared.imaging.provider.ImageProvider`."""

    def __init__(self, settings: OpenAISettings) -> None:
        key = settings.openai_api_key
        self._settings = settings
        self._client = openai.OpenAI(
            api_key="" if key is None else key.get_secret_value(),
            base_url=settings.openai_base_url,
            max_retries=0,
        )
        self._fetcher = ImageFetcher(self._client.base_url.host, IMAGE_MAX_BYTES)

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Ask for the images of `call.positions` in one call; see `ImageProvider.generate`."""
        # Models that stream previews also take `output_format`, and always answer with bytes.
        is_gpt_image = PROVIDER.offer(self._settings, call.model).previews_max > 0
        previews = self._settings.openai_partial_images if is_gpt_image else 0
        parameters = self._parameters(call, is_gpt_image)
        try:
            if previews and len(call.positions) == 1:
                return self._generate_streamed(call, parameters, previews)
            return self._generate_whole(call, parameters)
        except openai.OpenAIError as error:
            if isinstance(error, openai.APITimeoutError):
                # Perhaps the time of the attempt itself has run out.
                call.deadline.check()
            raise attempt_error_of(error) from error

    def _parameters(self, call: ProviderCall, is_gpt_image: bool) -> dict[str, Any]:
        settings = self._settings
        parameters: dict[str, Any] = {
            "model": call.model,
            "prompt": f"{call.prompt}\n\n{STYLES[call.style].description}",
            "n": len(call.positions),
            "size": call.size,
            "timeout": openai.Timeout(
                call.deadline.timeout(settings.openai_timeout_seconds),
                connect=call.deadline.timeout(CONNECT_SECONDS),
            ),
            # Servers that know it answer a repetition without a second bill.
            "extra_headers": {"Idempotency-Key": f"{call.job_id}-{call.attempt}"},
        }
        if call.reference is not None:
            media_type = call.reference.media_type
            name = f"reference.{media_type.rpartition('/')[2]}"
            parameters["image"] = (name, call.reference.data, media_type)
        if settings.openai_quality != "auto":
            parameters["quality"] = settings.openai_quality
        if is_gpt_image:
            parameters["output_format"] = settings.openai_output_format
        else:
            parameters["response_format"] = "b64_json"
        return parameters

    def _send(self, call: ProviderCall, parameters: Mapping[str, Any], **others: Any) -> Any:
        images = self._client.images
        endpoint: Any = images.generate if call.reference is None else images.edit
        return endpoint(**parameters, **others)

    def _generate_whole(self, call: ProviderCall, parameters: Mapping[str, Any]) -> ProviderAnswer:
        answer = self._send(call, parameters)
        if not isinstance(answer, ImagesResponse):
            # The SDK returns the text of an answer that is not declared to be JSON.
            raise error_rules.EMPTY.error("The provider's answer is not JSON")
        name = getattr(answer, "_request_id", None)
        items = list(answer.data or ())[: len(call.positions)]
        if not items:
            raise error_rules.EMPTY.error(
                "The provider answered without a picture", request_id=name
            )
        return self._receive(call, [(item.b64_json, item.url) for item in items], answer, name)

    def _generate_streamed(
        self, call: ProviderCall, parameters: Mapping[str, Any], previews: int
    ) -> ProviderAnswer:
        steps = previews + 1
        with self._send(call, parameters, stream=True, partial_images=previews) as stream:
            name = stream.response.headers.get("x-request-id")
            for event in stream:
                call.deadline.check()
                if event.type.endswith(".partial_image"):
                    _show(call, event.b64_json)
                    call.step(min(event.partial_image_index + 1, steps) / steps)
                elif event.type.endswith(".completed"):
                    return self._receive(call, [(event.b64_json, None)], event, name)
        raise error_rules.EMPTY.error(
            "The provider's stream ended without a picture", request_id=name
        )

    def _receive(
        self,
        call: ProviderCall,
        items: list[tuple[str | None, str | None]],
        answer: Any,
        request_id: str | None,
    ) -> ProviderAnswer:
        """Keep the pictures of an answer, each given as base64 or by its address."""
        units = {"images": len(items)}
        for name in ("input_tokens", "output_tokens"):
            if isinstance(count := getattr(answer.usage, name, None), int):
                units[name] = count
        price = PROVIDER.offer(self._settings, call.model).price_of(call.size, len(items))
        receipt = Receipt(PROVIDER.name, call.model, request_id, units, price)
        call.bill(ChargeState.CHARGED, receipt)
        images: list[GeneratedImage] = []
        failures: list[AttemptError] = []
        for position, (text, url) in zip(call.positions, items, strict=False):
            try:
                images.append(self._keep(call, position, text, url))
            except (CorruptImage, ProviderTimeout, ProviderUnavailable) as error:
                log.warning("picture not received", code=error.code, reason=str(error))
                failures.append(error)
        if not images:
            raise failures[0]
        return ProviderAnswer(tuple(images), ChargeState.CHARGED, receipt)

    def _keep(
        self, call: ProviderCall, position: int, text: str | None, url: str | None
    ) -> GeneratedImage:
        data = _decoded(text) if text else self._fetcher.fetch(url or "", call.deadline)
        try:
            found = measure(data)
        except NotAPicture as error:
            raise error_rules.CORRUPT.error(f"What the provider sent {error}") from error
        image = GeneratedImage(
            position=position,
            data=data,
            media_type=found.media_type,
            width_px=found.width_px,
            height_px=found.height_px,
            seed=call.seed_of(position),
            provider=PROVIDER.name,
            model=call.model,
        )
        call.keep(image)
        return image


def _show(call: ProviderCall, text: str) -> None:
    """Pass on a preview of the one image; skip one that cannot be read."""
    try:
        data = _decoded(text)
        found = measure(data)
    except (NotAPicture, CorruptImage) as error:
        log.warning("preview not shown", reason=str(error))
        return
    [position] = call.positions
    call.preview(PreviewImage(position, data, found.media_type, found.width_px, found.height_px))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise error_rules.CORRUPT.error("What the provider sent is not base64") from error


def attempt_error_of(error: openai.OpenAIError) -> AttemptError:
    """Return an error of the SDK as one of ours, with what it knows of the bill."""
    if isinstance(error, openai.APIConnectionError):
        return _of_connection(error)
    if isinstance(error, openai.APIStatusError):
        rule = find_rule(ERRORS, _words_of(error), error.status_code) or error_rules.NO_ANSWER
        return rule.error(
            _line(f"answered {error.status_code}", error),
            retry_after_seconds=retry_after_seconds(error.response.headers),
            provider_code=error.code or error.type,
            request_id=error.request_id,
        )
    if isinstance(error, openai.APIError) and error.code is not None:
        # An event of a stream that has begun: the pictures before it may be billed.
        rule = find_rule(ERRORS, _words_of(error)) or error_rules.NO_ANSWER
        unknown = ChargeState.UNKNOWN.value
        line = _line("broke off", error)
        return rule.error(line, charge_state=unknown, provider_code=error.code)
    return error_rules.NO_ANSWER.error(_line("answered with what cannot be read", error))


def _of_connection(error: openai.APIConnectionError) -> AttemptError:
    cause = type(error.__cause__).__name__
    is_sent = cause not in _NOT_SENT
    if isinstance(error, openai.APITimeoutError):
        rule = error_rules.ANSWER_TIMEOUT if is_sent else error_rules.CONNECT_TIMEOUT
        return rule.error(f"The provider did not answer in time ({cause})")
    rule = error_rules.NO_ANSWER if is_sent else error_rules.NOT_CONNECTED
    return rule.error(f"The connection to the provider failed ({cause})")


def _words_of(error: openai.APIError) -> list[str]:
    body = error.body if isinstance(error.body, Mapping) else {}
    details = body.get("moderation_details")
    stage = details.get("moderation_stage") if isinstance(details, Mapping) else None
    return [error.code or "", WITHHELD if stage == "output" else ""]


def _line(what: str, error: openai.OpenAIError) -> str:
    # The SDK puts the status before the server's own sentence.
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, Mapping) else None
    message = said or getattr(error, "message", "") or type(error).__name__
    return one_line(f"The provider {what}: {message}")
