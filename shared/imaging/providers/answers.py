"""Finds pictures, errors and counts in what servers of the OpenAI Images API answer. Pure.

Servers that speak this API differ in every detail, so nothing of an answer is taken on trust.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.errors import one_line

DEPTH_MAX = 4
"""How deep an error is looked for: servers put the errors of others into their own."""

PARTS_MAX = 100_000
"""Of one answer: ten pictures with all that is said of them have some hundred."""

TITLE_MAX_CHARS = 100
ADDRESS_MAX_CHARS = 4096

_LISTS = ("data", "images", "output", "image")
_BASE64 = ("b64_json", "b64", "base64", "image_base64")
_ADDRESSES = ("url", "image_url", "uri")
_SENTENCES = ("message", "detail", "msg", "error", "errors", "title", "description")
_ADDRESS = re.compile(r"https?://|data:", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_UNKNOWN_PARAMETER = re.compile(
    r"(?:unknown|unrecogni[sz]ed|unsupported|unexpected)[ _](?:request |keyword )?"
    r"(?:param|argument|field|propert|name\b)"
    r"|(?:not|n't|un)[ _]?(?:supported|permitted|allowed|recogni[sz]ed)"
    r"|extra_forbidden|was unexpected|does not support",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SentPicture:
    """A picture of an answer, in one of these forms; all are None if it has none."""

    base64: str | None = None
    address: str | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class SaidError:
    """An error in the words of a server.

    Attributes:
        sentence: What it says; may be empty.
        code: Its own code, or the type where it has none.
        words: All its codes, for the error table.
        status: The HTTP status that it means, where its code is one.
        parameter: The parameter of the request that it names.
        moderation_stage: `input` or `output`, where moderation refused.
    """

    sentence: str = ""
    code: str | None = None
    words: frozenset[str] = frozenset()
    status: int | None = None
    parameter: str | None = None
    moderation_stage: str | None = None

    def unknown_parameter(self, sent: Iterable[str]) -> str | None:
        """Return which of the parameters that were sent the server does not know."""
        if not _UNKNOWN_PARAMETER.search(" ".join((self.sentence, *self.words))):
            return None
        names = sorted(sent, key=len, reverse=True)
        if self.parameter in names:
            return self.parameter
        words = re.findall(r"\w+", self.sentence)
        return next((name for name in names if name in words), None)


def parse(body: bytes) -> Any:
    """Return what a JSON body holds; None where it is no JSON, or has far too many parts."""
    # Each part costs many times its bytes in memory. Base64 holds none of these signs.
    if sum(body.count(sign) for sign in (b"{", b"[", b",", b":")) > PARTS_MAX:
        return None
    try:
        return json.loads(body.removeprefix(b"\xef\xbb\xbf").decode().strip() or "null")
    except (ValueError, RecursionError):
        return None


def pictures_in(body: Any) -> list[SentPicture]:
    """Return the pictures of a whole answer, or of one event, in order."""
    if isinstance(body, list):
        return [picture for item in body if (picture := _picture_of(item)) is not None]
    if not isinstance(body, Mapping):
        return []
    for name in _LISTS:
        value = body.get(name)
        if isinstance(value, str | Mapping) and value:
            value = [value]
        if isinstance(value, list) and (found := pictures_in(value)):
            return found
    picture = _picture_of(body)
    return [] if picture is None or picture == SentPicture() else [picture]


def _picture_of(item: Any) -> SentPicture | None:
    """Return a picture; one without any form where an item names a form and leaves it empty."""
    if isinstance(item, str):
        return _of_text(item) if item else None
    if not isinstance(item, Mapping):
        return None
    for name in _BASE64:
        if isinstance(text := item.get(name), str) and text:
            return _of_text(text)
    for name in _ADDRESSES:
        value = item.get(name)
        address = value.get("url") if isinstance(value, Mapping) else value
        if isinstance(address, str) and address.strip():
            return SentPicture(address=address)
    return SentPicture() if {*_BASE64, *_ADDRESSES} & item.keys() else None


def _of_text(text: str) -> SentPicture:
    # No base64 has a dot.
    is_path = len(text) < ADDRESS_MAX_CHARS and "." in text
    if is_path or _ADDRESS.match(text[:10].lstrip()):
        return SentPicture(address=text)
    return SentPicture(base64=text)


def tokens_in(body: Any, names: Iterable[str]) -> dict[str, int]:
    """Return those counts of an answer's `usage` that are numbers."""
    usage = body.get("usage") if isinstance(body, Mapping) else None
    if not isinstance(usage, Mapping):
        return {}
    # PostgreSQL keeps any number in JSON, but a receipt has counts.
    return {
        name: count
        for name in names
        if type(count := usage.get(name)) is int and 0 <= count < 2**53
    }


def error_in(body: Any) -> SaidError | None:
    """Return the error that a body states as one, in any of the usual forms."""
    if isinstance(body, list):
        return next((error for item in body[:3] if (error := error_in(item))), None)
    if isinstance(body, Mapping):
        for name in ("error", "errors"):
            if value := body.get(name):
                return _error_of(body if isinstance(value, str) else value)
    return None


def refusal_in(body: Any, text: str) -> SaidError:
    """Return the error of a body that must be one, by its status or as nothing else is in it.

    Args:
        body: What its JSON holds; None if it is none.
        text: The body itself, or its beginning.
    """
    if body is None:
        return SaidError(_plain_sentence(text))
    return error_in(body) or _error_of(body)


def _error_of(value: Any, depth: int = 0) -> SaidError:
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else {"message": value}
    if not isinstance(value, Mapping):
        return SaidError(_sentence(value))
    inner, detail = value.get("error"), value.get("detail")
    if isinstance(inner, Mapping) and depth < DEPTH_MAX:
        return _error_of(inner, depth + 1)
    if isinstance(detail, list) and detail and isinstance(detail[0], Mapping):
        return replace(_error_of(detail[0], DEPTH_MAX), sentence=_sentence(detail))
    named = [str(value[name]) for name in ("code", "type") if _is_word(value.get(name))]
    found = SaidError(
        _sentence(value),
        named[0] if named else None,
        frozenset(named),
        next((int(word) for word in named if re.fullmatch(r"[45]\d\d", word)), None),
        _parameter_of(value),
    )
    details = value.get("moderation_details")
    if isinstance(details, Mapping) and _is_word(stage := details.get("moderation_stage")):
        return replace(found, moderation_stage=str(stage))
    return found


def _is_word(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return value not in ("", 0, "error")


def _parameter_of(value: Mapping[str, Any]) -> str | None:
    if isinstance(name := value.get("param"), str):
        return name
    # FastAPI, Pydantic: {"detail": [{"type": ..., "loc": ["body", "size"], "msg": ...}]}
    place = value.get("loc")
    return str(place[-1]) if isinstance(place, list) and place else None


def _sentence(value: Any, depth: int = 0) -> str:
    """Return the words for a person in an error of any form."""
    if isinstance(value, str):
        return _plain_sentence(value)
    if depth > DEPTH_MAX:
        return ""
    if isinstance(value, list):
        said = [text for item in value[:3] if (text := _sentence(item, depth + 1))]
        return "; ".join(said)
    if not isinstance(value, Mapping):
        return ""
    found: Iterator[str] = (_sentence(value.get(name), depth + 1) for name in _SENTENCES)
    text = next((text for text in found if text), "")
    place = value.get("loc")
    return f"{place[-1]}: {text}" if text and isinstance(place, list) and place else text


def _plain_sentence(text: str) -> str:
    """Return a text; of a page, its title alone."""
    if re.search(r"<(?:!doctype|html|head|body|title)\b", text[:2000], re.IGNORECASE):
        title = _TITLE.search(text[:20_000])
        return one_line(html.unescape(title.group(1)))[:TITLE_MAX_CHARS] if title else ""
    return one_line(text[:4000])
