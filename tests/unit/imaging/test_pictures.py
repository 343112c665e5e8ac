"""Bytes from outside are a picture when they decode to the last pixel."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from shared.imaging.containers import NotAPicture, Picture
from shared.imaging.pictures import measure

CASES = Path(__file__).parents[2] / "cases" / "uploads"


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
    data = encoded(kind)
    assert measure(data) == Picture(data, media_type, 40, 30)


def test_a_picture_with_another_inside_is_kept_byte_for_byte() -> None:
    """As some models send it."""
    data = (CASES / "two-pictures.jpg").read_bytes()
    assert measure(data) == Picture(data, "image/jpeg", 64, 48)


def test_notes_of_a_provider_stay() -> None:
    """Such as the proof that a model made the image."""
    proof = b"\0\0\0\x04caBXjumb" + b"\0\0\0\0"
    data = encoded("PNG")
    data = data[:33] + proof + data[33:]
    assert measure(data).data == data


def test_an_image_that_lies_on_its_side_is_turned() -> None:
    """Its row has the size that a viewer shows."""
    found = measure((CASES / "icc-orient6.jpg").read_bytes())
    assert (found.media_type, found.width_px, found.height_px) == ("image/jpeg", 48, 64)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF"])
def test_what_browsers_or_providers_do_not_know_is_encoded_anew(kind: str) -> None:
    """Without loss where there was none."""
    data = encoded(kind)
    found = measure(data)
    assert found.media_type == ("image/jpeg" if kind == "AVIF" else "image/png")
    sent, kept = (Image.open(BytesIO(each)).convert("L") for each in (data, found.data))
    differences = ImageChops.difference(sent, kept).tobytes()
    assert max(differences) <= (12 if kind == "AVIF" else 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg/>",
        encoded("PNG")[:-200],
        encoded("JPEG")[:400],
        encoded("WEBP")[:300],
        encoded("PNG")[:40] + bytes(800),
    ],
    ids=["empty", "text", "cut-png", "cut-jpeg", "cut-webp", "zeros"],
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
