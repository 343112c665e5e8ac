"""Bytes from outside are a picture when they decode to the last pixel."""

from io import BytesIO

import pytest
from PIL import Image

from shared.imaging.decoding import Measured, NotAPicture, measure


def encoded(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """Return a picture as a file."""
    buffer = BytesIO()
    Image.effect_noise(size, 80).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")],
)
def test_whole_pictures_are_measured(kind: str, media_type: str) -> None:
    """By what they are, whatever anybody called them."""
    assert measure(encoded(kind)) == Measured(media_type, 40, 30)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg/>",
        encoded("PNG")[:-200],
        encoded("JPEG")[:400],
        encoded("WEBP")[:300],
        encoded("PNG")[:40] + bytes(800),
        encoded("GIF"),
        encoded("BMP"),
    ],
    ids=["empty", "text", "cut-png", "cut-jpeg", "cut-webp", "zeros", "gif", "bmp"],
)
def test_everything_else_is_none(data: bytes) -> None:
    """Cut short, of another kind, or no picture at all."""
    with pytest.raises(NotAPicture):
        measure(data)


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    """A small file may hold a large picture."""
    buffer = BytesIO()
    Image.new("1", (8_000, 6_300)).save(buffer, "PNG")
    with pytest.raises(NotAPicture, match="8000 x 6300 pixels"):
        measure(buffer.getvalue())
