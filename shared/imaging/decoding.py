"""Whether bytes from outside are a whole picture, and which: decided by decoding them.

Imports Pillow: for where a real provider answers, or somebody uploads a picture.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

PIXELS_MAX = 50_000_000

_MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


class NotAPicture(ValueError):
    """The bytes are cut short, too large, or no picture of a kind that is known here."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a picture was found to be."""

    media_type: str
    width_px: int
    height_px: int


def measure(data: bytes) -> Measured:
    """Decode a picture to its last pixel and say what it is.

    Raises:
        NotAPicture: It is none, or it is cut short, or it has more than `PIXELS_MAX` pixels.
    """
    with opened(data) as (picture, media_type):
        return Measured(media_type, *picture.size)


@contextmanager
def opened(data: bytes) -> Iterator[tuple[Image.Image, str]]:
    """Open a picture that was decoded to its last pixel; the value is it and its media type.

    Raises:
        NotAPicture: As `measure`; also for whatever Pillow finds wrong inside.
    """
    try:
        with Image.open(BytesIO(data), formats=tuple(_MEDIA_TYPES)) as picture:
            width_px, height_px = picture.size
            if width_px * height_px > PIXELS_MAX:
                raise NotAPicture(f"has {width_px} x {height_px} pixels")
            picture.load()
            yield picture, _MEDIA_TYPES[str(picture.format)]
    except NotAPicture:
        raise
    # Pillow warns of pictures that are far too large, and tests make errors of warnings.
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError) as error:
        raise NotAPicture(f"is not a whole picture ({type(error).__name__})") from error
