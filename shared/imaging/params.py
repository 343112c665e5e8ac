"""What a job's row says about the pictures to make, and the limits that requests share.

Written by `shared.imaging.request`, or by a foreign producer straight into the row; read back
by the image service. Free of pydantic models, which a worker does not need.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args
from uuid import UUID

from shared.errors import InvalidRequest
from shared.imaging.styles import DEFAULT_STYLE, STYLES

SizeName = Literal["256x256", "512x512", "1024x1024", "1024x1536", "1536x1024"]

SIZE_NAMES: tuple[str, ...] = get_args(SizeName)
DEFAULT_SIZE: SizeName = "1024x1024"
PROMPT_MAX_CHARS = 4000
IMAGES_MAX = 10
SEED_LIMIT = 2**31

# A lone surrogate cannot be encoded as UTF-8, a NUL cannot be kept by PostgreSQL.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean_prompt(prompt: str) -> str:
    """Return the prompt stripped, with plain newlines.

    Raises:
        ValueError: It is empty, too long, or holds control characters; the message says which
            and reads well after the name of the field.
    """
    text = prompt.replace("\r\n", "\n").strip()
    if not text:
        raise ValueError("must not be empty")
    if len(text) > PROMPT_MAX_CHARS:
        raise ValueError(f"must have at most {PROMPT_MAX_CHARS} characters, not {len(text)}")
    check_printable(text)
    return text


def check_printable(text: str) -> None:
    """Raise ValueError if the text holds control characters other than newline and tab."""
    found = _UNPRINTABLE.search(text)
    if found:
        raise ValueError(f"must not contain the control character U+{ord(found.group()):04X}")


def image_seed(seed: int, position: int) -> int:
    """Return the seed of the image at a position, itself a seed that a request may name."""
    return (seed + position) % SEED_LIMIT


@dataclass(frozen=True, slots=True)
class ImageParams:
    """The pictures one job asks for."""

    prompt: str
    style: str
    width_px: int
    height_px: int
    n: int
    seed: int

    @classmethod
    def from_row(cls, params: Mapping[str, Any], job_id: UUID) -> Self:
        """Read the `params` of a row, which a foreign producer may have written.

        Only the prompt is required. A missing seed follows from the job's id, so that every
        attempt draws the same pictures.

        Raises:
            InvalidRequest: The params cannot be served; one line names the field.
        """
        width_px, height_px = _read_size(params)
        default_seed = job_id.int % SEED_LIMIT
        return cls(
            prompt=_read_prompt(params),
            style=_read_choice(params, "style", DEFAULT_STYLE, STYLES),
            width_px=width_px,
            height_px=height_px,
            n=_read_integer(params, "n", 1, least=1, most=IMAGES_MAX),
            seed=_read_integer(params, "seed", default_seed, least=0, most=SEED_LIMIT - 1),
        )

    def asked(self, positions: Sequence[int] | None) -> tuple[int, ...]:
        """Return the positions to make: these, or all of the job's."""
        return tuple(range(self.n) if positions is None else positions)

    def picture(self) -> dict[str, Any]:
        """Return what every picture of the job has in common, as a provider is told it."""
        return {
            "prompt": self.prompt,
            "style": self.style,
            "width_px": self.width_px,
            "height_px": self.height_px,
            "seed": self.seed,
        }


def _read_prompt(params: Mapping[str, Any]) -> str:
    prompt = params.get("prompt")
    if prompt is None:
        raise InvalidRequest("params: prompt is missing")
    if not isinstance(prompt, str):
        raise InvalidRequest(f"params: prompt must be a text, not {type(prompt).__name__}")
    try:
        return clean_prompt(prompt)
    except ValueError as error:
        raise InvalidRequest(f"params: prompt {error}") from None


def _read_size(params: Mapping[str, Any]) -> tuple[int, int]:
    size = _read_choice(params, "size", DEFAULT_SIZE, SIZE_NAMES)
    width, height = size.split("x")
    return int(width), int(height)


def _read_choice(
    params: Mapping[str, Any], name: str, default: str, choices: Mapping[str, Any] | tuple[str, ...]
) -> str:
    value = params.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in choices:
        found = repr(value)[:64]
        raise InvalidRequest(f"params: {name} must be one of {', '.join(choices)}, not {found}")
    return value


def _read_integer(
    params: Mapping[str, Any], name: str, default: int, *, least: int, most: int
) -> int:
    value = params.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        found = repr(value)[:64]
        raise InvalidRequest(
            f"params: {name} must be an integer from {least} to {most}, not {found}"
        )
    return value
