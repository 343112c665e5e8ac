"""The parameters of a job: which images to make, and on which conditions.

Parsed once: at submission from a `GenerationRequest`, at the claim from the row, whose `params`
a foreign producer may have written. Free of pydantic, which a worker does not need.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class ImageParams:
    """The images that one job asks for.

    Attributes:
        n: How many images.
        seed: Of the image at position 0; the other images count up from it.
        on_unknown_charge: `retry` or `fail`; None follows the setting ON_UNKNOWN_CHARGE.
        max_cost_microdollars: The most that the job may cost; None for any amount.
        metadata: The caller's own labels, kept and not interpreted.
    """

    prompt: str
    style: str
    width_px: int
    height_px: int
    n: int
    seed: int
    on_unknown_charge: str | None = None
    max_cost_microdollars: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_row(cls, params: Mapping[str, Any], job_id: UUID) -> Self:
        """Parse the `params` of a row, which a foreign producer may have written.

        Only the prompt is required. A missing seed follows from the job's id, so that every
        attempt asks for the same images. Conditions that cannot be read count as absent.

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
            on_unknown_charge=_read_on_unknown_charge(params),
            max_cost_microdollars=_read_max_cost(params),
            metadata=_read_metadata(params),
        )

    @property
    def size(self) -> str:
        """The size by its name, such as `1024x1024`."""
        return f"{self.width_px}x{self.height_px}"

    def as_row(self) -> dict[str, Any]:
        """Return what the row keeps in `params`; `from_row` reads it back."""
        row: dict[str, Any] = {
            "prompt": self.prompt,
            "style": self.style,
            "size": self.size,
            "n": self.n,
            "seed": self.seed,
            "metadata": dict(self.metadata),
        }
        if self.on_unknown_charge is not None:
            row["on_unknown_charge"] = self.on_unknown_charge
        if self.max_cost_microdollars is not None:
            row["max_cost"] = self.max_cost_microdollars
        return row


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


def _read_on_unknown_charge(params: Mapping[str, Any]) -> str | None:
    value = params.get("on_unknown_charge")
    return value if value in ("retry", "fail") else None


def _read_max_cost(params: Mapping[str, Any]) -> int | None:
    value = params.get("max_cost")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_metadata(params: Mapping[str, Any]) -> Mapping[str, str]:
    value = params.get("metadata")
    return value if isinstance(value, dict) else {}


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
