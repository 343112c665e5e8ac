"""Calls of the Gemini API: one call for each image, one after the other.

Imported where `gemini.PROVIDER` is built, and nowhere else.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import AttemptError, one_line
from shared.imaging.provider import ChargeState, ProviderAnswer, ProviderCall
from shared.imaging.providers import error_rules
from shared.imaging.providers.answers import SentPicture, parse, refusal_in
from shared.imaging.providers.api_client import Answer, ApiClient
from shared.imaging.providers.error_rules import find_rule, retry_after_seconds
from shared.imaging.providers.fetching import ImageFetcher
from shared.imaging.providers.gemini import (
    ASPECT_RATIOS,
    BAD_KEY,
    BLOCKED,
    ERRORS,
    PROVIDER,
    WITHHELD,
    GeminiSettings,
)
from shared.imaging.providers.image_intake import ImageIntake
from shared.imaging.providers.sent_pictures import IMAGE_MAX_BYTES
from shared.imaging.styles import STYLES

STEPS = 4
"""Of one image: sent, answered, received, kept."""

_COUNTS = {
    "input_tokens": ("promptTokenCount",),
    "output_tokens": ("candidatesTokenCount", "thoughtsTokenCount"),
}
_WITHHELD_FOR = ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII")
"""How the `finishReason` of a withheld image ends; some have IMAGE_ before it."""


class GeminiProvider:
    """Makes images by calling an API; implements `shared.imaging.provider.ImageProvider`."""

    def __init__(self, settings: GeminiSettings) -> None:
        key = settings.gemini_api_key
        secret = "" if key is None else key.get_secret_value()
        self._settings = settings
        self._client = ApiClient(
            settings.gemini_base_url,
            {"x-goog-api-key": secret},
            settings.gemini_timeout_seconds,
        )
        self._fetcher = ImageFetcher(settings.gemini_base_url, IMAGE_MAX_BYTES)

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Make the images of `call.positions`; see `ImageProvider.generate`."""
        price_of = PROVIDER.offer(self._settings, call.model).price_of
        intake = ImageIntake(call, PROVIDER.name, price_of, self._fetcher)
        body = _request_of(call)
        while not intake.is_full:
            try:
                self._make_next(call, intake, body)
            except AttemptError as error:
                if not intake.taken:
                    raise
                # The images before it are paid for, whatever this call has cost.
                if error.charge_state == ChargeState.NONE.value:
                    error.charge_state = ChargeState.CHARGED.value
                if not error.retryable or error.charge_state is None:
                    raise
                return intake.answer(ChargeState(error.charge_state))
        return intake.answer()

    def _make_next(self, call: ProviderCall, intake: ImageIntake, body: Mapping[str, Any]) -> None:
        steps = len(call.positions) * STEPS
        done = intake.taken * STEPS
        path = f"/models/{call.model}:generateContent"
        call.step((done + 1) / steps)
        intake.note_next_call()
        with self._client.opened("POST", path, call.deadline, json=body) as answer:
            call.step((done + 2) / steps)
            data = answer.read()
        call.step((done + 3) / steps)
        found = parse(data)
        if answer.status != 200:
            raise _refusal(answer, found, data)
        if not isinstance(found, Mapping):
            call.deadline.check()
            raise error_rules.EMPTY.error("The provider's answer is not JSON")
        pictures = _pictures_in(found)[:1]
        intake.request_id = _id_of(found) or intake.request_id
        if not pictures:
            raise _without_picture(found)
        intake.take(pictures, _tokens_in(found))
        call.step((done + 4) / steps)


def _request_of(call: ProviderCall) -> dict[str, Any]:
    text = f"{call.params.prompt}\n\n{STYLES[call.params.style].description}"
    parts: list[dict[str, Any]] = [{"text": text}]
    for each in call.references:
        data = b64encode(each.data).decode()
        parts.append({"inlineData": {"mimeType": each.media_type, "data": data}})
    shape = {"imageSize": "1K"}
    if call.params.size in ASPECT_RATIOS:
        shape["aspectRatio"] = ASPECT_RATIOS[call.params.size]
    return {
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {"responseModalities": ["IMAGE"], "imageConfig": shape},
    }


def _candidates_of(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    candidates = body.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        if isinstance(candidate, Mapping):
            yield candidate


def _parts_of(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for candidate in _candidates_of(body):
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, Mapping) else None
        for part in parts if isinstance(parts, list) else ():
            # Images that the model only thinks with are not the result.
            if isinstance(part, Mapping) and part.get("thought") is not True:
                yield part


def _pictures_in(body: Mapping[str, Any]) -> list[SentPicture]:
    found = []
    for part in _parts_of(body):
        inline = part.get("inlineData") or part.get("inline_data")
        data = inline.get("data") if isinstance(inline, Mapping) else None
        if isinstance(data, str) and data:
            found.append(SentPicture(base64=data))
    return found


def _tokens_in(body: Mapping[str, Any]) -> dict[str, int]:
    usage = body.get("usageMetadata")
    if not isinstance(usage, Mapping):
        return {}
    counts = {
        unit: [count for name in names if type(count := usage.get(name)) is int and count >= 0]
        for unit, names in _COUNTS.items()
    }
    return {unit: sum(found) for unit, found in counts.items() if found}


def _id_of(body: Mapping[str, Any]) -> str | None:
    found = body.get("responseId")
    return found[:255] if isinstance(found, str) else None


def _without_picture(body: Mapping[str, Any]) -> AttemptError:
    """Return why an answer with status 200 has no image."""
    feedback = body.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, Mapping) else None
    facts = {"request_id": _id_of(body)}
    if isinstance(reason, str):
        line = one_line(f"The provider blocked the prompt: {reason}")
        return BLOCKED.error(line, provider_code=reason, **facts)
    reasons = [candidate.get("finishReason") for candidate in _candidates_of(body)]
    reason = next((each for each in reasons if isinstance(each, str)), None)
    said = [part["text"] for part in _parts_of(body) if isinstance(part.get("text"), str)]
    line = one_line(": ".join(["The provider sent no image", *([reason] if reason else []), *said]))
    rule = WITHHELD if reason and reason.endswith(_WITHHELD_FOR) else error_rules.EMPTY
    return rule.error(line, provider_code=reason, **facts)


def _refusal(answer: Answer, body: Any, data: bytes) -> AttemptError:
    said = refusal_in(body, data[:4000].decode("utf-8", "replace"))
    words = said.words | ({BAD_KEY} if BAD_KEY.encode() in data else frozenset())
    rule = find_rule(ERRORS, words, answer.status) or error_rules.NO_ANSWER
    return rule.error(
        one_line(f"The provider answered {answer.status}: {said.sentence}"),
        retry_after_seconds=retry_after_seconds(answer.headers),
        provider_code=said.code,
        request_id=answer.request_id,
    )
