"""Decides whether foreign bytes are a complete image, and of which type: by decoding them.

Imports Pillow: import this module only where a provider answers or a client uploads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

PIXELS_MAX = 50_000_000

_MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


class NotAPicture(ValueError):
    """The bytes are cut short, too large, or not an image of a known type."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an image was found to be."""

    media_type: str
    width_px: int
    height_px: int


def measure(data: bytes) -> Measured:
    """Decode an image to its last pixel and return what it is.

    Raises:
        NotAPicture: It cannot be decoded, or it has more than `PIXELS_MAX` pixels.
    """
    with opened(data) as (picture, media_type):
        return Measured(media_type, *picture.size)


@contextmanager
def opened(data: bytes) -> Iterator[tuple[Image.Image, str]]:
    """Yield an image that was decoded to its last pixel, and its media type.

    Raises:
        NotAPicture: As `measure`; also for whatever Pillow raises in the body.
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
    # Pillow warns of images that are far too large, and tests make errors of warnings.
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError) as error:
        raise NotAPicture(f"is not a whole picture ({type(error).__name__})") from error
