"""A request for images as OpenAI's clients send it, read into an order of ours.

Fields that are unknown here are passed over: clients send more of them with every release.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from shared.api.openai.multipart import FormPart, read_form
from shared.errors import InvalidRequest
from shared.imaging.params import REFERENCES_MAX
from shared.imaging.request import ImageOrder
from shared.imaging.styles import STYLES

PARTIAL_IMAGES_MAX = 3

_MASKS = ("mask", "mask[]")
_PICTURES = re.compile(r"image(\[[0-9]*\])?")
"""`image[]` as OpenAI's SDKs name several; other clients count them."""

_INTEGERS = frozenset({"n", "seed", "max_cost", "output_compression"})


class Wishes(BaseModel):
    """How the answer is wanted. Forms, and some clients, send numbers and booleans as text."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    model: str | None = None
    response_format: Literal["b64_json", "url"] | None = None
    stream: bool = False
    partial_images: int = Field(default=0, ge=0, le=PARTIAL_IMAGES_MAX)
    quality: str | None = None
    background: str | None = None


@dataclass(frozen=True, slots=True)
class ImagesRequest:
    """What a client asks for.

    Attributes:
        sha256: Of everything that the body says, whatever the order of its fields.
        has_mask: Whether the last of the pictures beside it is the mask of the first.
    """

    order: ImageOrder
    wishes: Wishes
    sha256: str
    has_mask: bool = False


def read_generation(body: bytes) -> ImagesRequest:
    """Return a request for images of a prompt, from its JSON.

    Raises:
        RequestValidationError: A field is wrong.
        HTTPException: It is not a JSON object.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise HTTPException(400, f"the body is not JSON: {reason}") from error
    if not isinstance(fields, dict):
        raise HTTPException(400, "the body is not a JSON object")
    given = {name: value for name, value in fields.items() if value is not None}
    return ImagesRequest(_order_of(given), _wishes_of(given), _hash(["generation", given]))


def read_edit(body: bytes, content_type: str) -> tuple[ImagesRequest, list[bytes]]:
    """Return a request to edit pictures, and these in order, its mask at the end, from its form.

    Raises:
        InvalidRequest: It is not a form, or holds no picture or too many.
        RequestValidationError: A field is wrong.
    """
    parts = read_form(body, content_type)
    pictures, masks = _files_of(parts)
    given = {part.name: _text_of(part) for part in parts if not part.is_file and part.data}
    # The boundary of a form is another one each time it is sent.
    facts = [(part.name, sha256(part.data).hexdigest()) for part in parts]
    hashed = _hash(["edit", facts])
    asked = ImagesRequest(_order_of(given), _wishes_of(given), hashed, has_mask=bool(masks))
    return asked, pictures + masks


def _files_of(parts: Iterable[FormPart]) -> tuple[list[bytes], list[bytes]]:
    files = [part for part in parts if part.is_file]
    pictures = [part.data for part in files if _PICTURES.fullmatch(part.name)]
    masks = [part.data for part in files if part.name in _MASKS]
    if not pictures:
        raise InvalidRequest("image: is missing")
    if len(pictures) > REFERENCES_MAX:
        raise InvalidRequest(f"image: at most {REFERENCES_MAX} pictures, not {len(pictures)}")
    if len(masks) > 1:
        raise InvalidRequest("mask: only one can be used")
    return pictures, masks


def _order_of(given: Mapping[str, Any]) -> ImageOrder:
    fields = {name: given[name] for name in ImageOrder.model_fields if name in given}
    # OpenAI's own styles (`vivid`, `natural`) concern a model that is no longer offered.
    if fields.get("style") not in STYLES:
        fields.pop("style", None)
    for name in _INTEGERS & fields.keys():
        if isinstance(fields[name], str) and fields[name].isdecimal():
            fields[name] = int(fields[name])
    # OpenAI's default, and the only value that it takes with PNG.
    if fields.get("output_compression") == 100 and fields.get("output_format") not in (
        "jpeg",
        "webp",
    ):
        del fields["output_compression"]
    with _naming_fields():
        return ImageOrder.model_validate(fields)


def _wishes_of(given: Mapping[str, Any]) -> Wishes:
    with _naming_fields():
        return Wishes.model_validate(given)


@contextmanager
def _naming_fields() -> Iterator[None]:
    """Make an error of pydantic one that the API answers."""
    try:
        yield
    except ValidationError as error:
        details = [{**item, "loc": ("body", *item["loc"])} for item in error.errors()]
        raise RequestValidationError(details) from None


def _text_of(part: FormPart) -> str:
    try:
        return part.data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{part.name}: must be UTF-8") from None


def _hash(facts: object) -> str:
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
