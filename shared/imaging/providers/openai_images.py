"""Calls of the OpenAI Images API: one call an attempt, whatever dialect the server speaks.

Imported where `openai.PROVIDER` is built, and nowhere else. A call is repeated within an attempt
in one case: the server refused it for a parameter that it does not know, and so billed nothing.
"""

from collections import defaultdict
from typing import Any

import structlog

from shared.imaging.params import AUTO
from shared.imaging.provider import ProviderAnswer, ProviderCall
from shared.imaging.providers.api_client import ApiClient
from shared.imaging.providers.fetching import ImageFetcher
from shared.imaging.providers.image_intake import ImageIntake
from shared.imaging.providers.openai import NEEDED, PROVIDER, OpenAISettings
from shared.imaging.providers.openai_answers import read_pictures, read_refusal, refusal_of
from shared.imaging.providers.sent_pictures import IMAGE_MAX_BYTES
from shared.imaging.styles import STYLES

BASE_URL = "https://api.openai.com/v1"

_REFUSALS_OF_FORM = (400, 422)

_CHOICES = ("quality", "background", "output_format", "output_compression", "moderation")
"""Fields of a request that the API calls by the same names."""

log = structlog.get_logger(__name__)


class OpenAIProvider:
    """Makes pictures by calling an API; implements `shared.imaging.provider.ImageProvider`."""

    def __init__(self, settings: OpenAISettings) -> None:
        key = settings.openai_api_key
        secret = "" if key is None else key.get_secret_value()
        self._settings = settings
        self._client = ApiClient(
            settings.openai_base_url or BASE_URL,
            {"Authorization": f"Bearer {secret}"},
            settings.openai_timeout_seconds,
        )
        self._fetcher = ImageFetcher(self._client.base_url, IMAGE_MAX_BYTES)
        # What each model was found not to know, up to the end of this process.
        self._unknown: dict[str, set[str]] = defaultdict(set)

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Ask for the images of `call.positions` in one call; see `ImageProvider.generate`."""
        answer = None
        while answer is None:
            answer = self._ask(call)
        return answer

    def _ask(self, call: ProviderCall) -> ProviderAnswer | None:
        """Call the API; None if the server refused a parameter, which is left out from now on."""
        # What the request itself asks for is never left out: without it, its images are others.
        asked = {name for name in _CHOICES if getattr(call.params, name) not in (None, AUTO)}
        unknown = self._unknown[call.model] - asked
        left_out = unknown | {*self._settings.openai_omit}
        given = self._parameters(call).items()
        sent = {name: value for name, value in given if name not in left_out}
        request: dict[str, Any] = {"json": sent}
        path = "/images/generations"
        if call.references:
            path, request = "/images/edits", {"data": sent, "files": _files_of(call)}
        # Servers that know it answer a repetition of the same request without a second bill.
        request["headers"] = {"Idempotency-Key": "-".join((call.key, *sorted(unknown)))}
        with self._client.opened("POST", path, call.deadline, **request) as answer:
            if answer.status == 200:
                offer = PROVIDER.offer(self._settings, call.model)
                price_of = offer.priced(call.params.quality)
                intake = ImageIntake(call, PROVIDER.name, price_of, self._fetcher)
                return read_pictures(answer, intake, sent.get("partial_images", 0))
            said = read_refusal(answer)
            refused = said.unknown_parameter(sent.keys() - NEEDED - asked)
            if answer.status not in _REFUSALS_OF_FORM or refused is None:
                raise refusal_of(said, answer)
            log.warning("parameter left out", parameter=refused, reason=said.sentence)
            self._unknown[call.model].add(refused)
            return None

    def _parameters(self, call: ProviderCall) -> dict[str, Any]:
        settings, params = self._settings, call.params
        # Models that stream previews also take `output_format`, and always answer with bytes.
        is_gpt_image = PROVIDER.offer(settings, call.model).previews_max > 0
        parameters: dict[str, Any] = {
            "model": call.model,
            "prompt": f"{params.prompt}\n\n{STYLES[params.style].description}",
            "n": len(call.positions),
            "size": params.size,
        }
        chosen = {name: getattr(params, name) for name in _CHOICES}
        if params.quality is None:
            chosen["quality"] = settings.openai_quality
        if params.output_format is None and is_gpt_image:
            # A JPEG is never transparent.
            is_transparent = params.background == "transparent"
            jpeg_instead = is_transparent and settings.openai_output_format == "jpeg"
            chosen["output_format"] = "png" if jpeg_instead else settings.openai_output_format
        parameters |= {name: each for name, each in chosen.items() if each not in (None, AUTO)}
        if not is_gpt_image:
            return parameters | {"response_format": "b64_json"}
        if settings.openai_partial_images and len(call.positions) == 1:
            parameters |= {"stream": True, "partial_images": settings.openai_partial_images}
        return parameters


def _files_of(call: ProviderCall) -> list[tuple[str, tuple[str, bytes, str]]]:
    """Return the files of a form, named as the SDK names one and several (`openai` 3.54)."""
    name = "image" if len(call.references) == 1 else "image[]"
    pictures = [(name, each) for each in call.references]
    if call.mask is not None:
        pictures.append(("mask", call.mask))
    return [
        (name, (f"picture.{each.media_type.rpartition('/')[2]}", each.data, each.media_type))
        for name, each in pictures
    ]
