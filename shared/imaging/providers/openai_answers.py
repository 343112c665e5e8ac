"""Reads an answer of the OpenAI Images API: pictures, previews, or an error of our vocabulary.

What comes back decides how it is read, not what was asked for: servers answer with JSON where a
stream was asked for, and the other way round.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from shared.errors import AttemptError, one_line
from shared.imaging.media_types import media_type_of
from shared.imaging.provider import ChargeState, ProviderAnswer
from shared.imaging.providers import error_rules
from shared.imaging.providers.answers import (
    SaidError,
    SentPicture,
    error_in,
    parse,
    pictures_in,
    refusal_in,
    tokens_in,
)
from shared.imaging.providers.api_client import Answer
from shared.imaging.providers.error_rules import find_rule, retry_after_seconds
from shared.imaging.providers.event_stream import is_event_stream, read_events
from shared.imaging.providers.image_intake import ImageIntake
from shared.imaging.providers.openai import ERRORS, WITHHELD

REFUSAL_MAX_BYTES = 256 * 1024
"""Of the body of an error that is looked at."""

_TOKENS = ("input_tokens", "output_tokens")
_DONE = "[DONE]"
_FINAL = ("completed", "done", "result", "finished")

log = structlog.get_logger(__name__)


def read_pictures(answer: Answer, intake: ImageIntake, previews: int) -> ProviderAnswer:
    """Read the pictures of an answer with status 200.

    Args:
        answer: As it comes.
        intake: Takes the pictures.
        previews: How many were asked for.

    Raises:
        AttemptError: There is none.
    """
    intake.request_id = answer.request_id
    start = answer.start()
    if is_event_stream(start, answer.media_type):
        return _read_stream(answer, intake, previews + 1)
    data = answer.read()
    if media_type_of(start) is not None:
        intake.take([SentPicture(data=data)], {})
        return intake.answer()
    body = parse(data)
    if sent := pictures_in(body):
        if said := error_in(body):
            log.warning("error beside pictures", reason=said.sentence)
        intake.take(sent, tokens_in(body, _TOKENS))
        return intake.answer()
    if body is None:
        raise _empty("The provider's answer is not JSON", answer)
    raise _error_of(refusal_in(body, ""), answer)


def read_refusal(answer: Answer) -> SaidError:
    """Return what the body of an answer with another status says."""
    read = bytearray()
    for piece in answer.pieces():
        read += piece
        if len(read) >= REFUSAL_MAX_BYTES:
            break
    return refusal_in(parse(bytes(read)), bytes(read).decode("utf-8", "replace"))


def refusal_of(said: SaidError, answer: Answer) -> AttemptError:
    """Return an answer with another status than 200 as one of our errors."""
    rule = find_rule(ERRORS, _words_of(said), answer.status) or error_rules.NO_ANSWER
    status = f"answered {answer.status}"
    return rule.error(_line(status, said), **_facts_of(said, answer))


def _read_stream(answer: Answer, intake: ImageIntake, steps: int) -> ProviderAnswer:
    seen = 0
    for name, data in read_events(answer.pieces()):
        intake.call.deadline.check()
        if data.strip() == _DONE:
            break
        body = parse(data.encode())
        if not isinstance(body, Mapping):
            continue
        kind = str(body.get("type") or name)
        if "partial_image" in kind or "partial_image_index" in body:
            seen = max(seen, _number_of(body, seen))
            for preview in pictures_in(body)[:1]:
                intake.show(preview)
            intake.call.step(min(seen, steps) / steps)
        elif sent := _final_pictures(kind, body):
            intake.take(sent, tokens_in(body, _TOKENS))
            if intake.is_full:
                break
        elif said := _error_event(kind, body):
            if intake.taken:
                log.warning("error beside pictures", reason=said.sentence)
                break
            raise _broken_off(said, answer)
    if not intake.taken:
        raise _empty("The provider's stream ended without a picture", answer)
    return intake.answer()


def _number_of(body: Mapping[str, Any], seen: int) -> int:
    """Return which preview this is, from 1; servers leave the number out, or count otherwise."""
    index = body.get("partial_image_index")
    return index + 1 if type(index) is int and index >= seen else seen + 1


def _final_pictures(kind: str, body: Mapping[str, Any]) -> list[SentPicture]:
    """Return the pictures of an event that are not previews of an unknown kind."""
    is_whole = isinstance(body.get("data"), list)
    is_final = is_whole or kind in ("", "message") or kind.endswith(_FINAL)
    return [sent for sent in pictures_in(body) if sent != SentPicture()] if is_final else []


def _error_event(kind: str, body: Mapping[str, Any]) -> SaidError | None:
    if kind == "error" or kind.endswith((".error", ".failed")):
        return refusal_in(body, "")
    return error_in(body)


def _broken_off(said: SaidError, answer: Answer) -> AttemptError:
    # The stream has begun: what came before the error may be billed.
    rule = find_rule(ERRORS, _words_of(said), said.status) or error_rules.NO_ANSWER
    facts = {**_facts_of(said, answer), "charge_state": ChargeState.UNKNOWN.value}
    return rule.error(_line("broke off", said), **facts)


def _error_of(said: SaidError, answer: Answer) -> AttemptError:
    """Return the error that stands in an answer with status 200."""
    if not said.sentence and said.status is None:
        return _empty("The provider answered without a picture", answer)
    rule = find_rule(ERRORS, _words_of(said), said.status) or error_rules.SAID
    return rule.error(_line("answered", said), **_facts_of(said, answer))


def _empty(message: str, answer: Answer) -> AttemptError:
    # At the deadline an answer ends early.
    answer.deadline.check()
    return error_rules.EMPTY.error(message, request_id=answer.request_id)


def _words_of(said: SaidError) -> frozenset[str]:
    return said.words | ({WITHHELD} if said.moderation_stage == "output" else frozenset())


def _facts_of(said: SaidError, answer: Answer) -> dict[str, Any]:
    return {
        "retry_after_seconds": retry_after_seconds(answer.headers),
        "provider_code": said.code,
        "request_id": answer.request_id,
    }


def _line(what: str, said: SaidError) -> str:
    reason = said.sentence or said.code
    return one_line(f"The provider {what}: {reason}" if reason else f"The provider {what}")
