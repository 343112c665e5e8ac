"""Uploaded pictures are kept as their pixels, and as nothing else."""

from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from shared.imaging.decoding import NotAPicture
from shared.imaging.uploads import clean_upload

SECRET = "51.5007 N 0.1246 W"
UPSIDE_RIGHT_CORNER = 6
"""Orientation of EXIF: the first row is the right side (EXIF 2.32, tag 274)."""


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as a file."""
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    """Return the picture in a file."""
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


def test_the_metadata_of_a_camera_is_removed() -> None:
    """Places, comments and notes; the picture stands upright as the camera meant."""
    exif = Image.Exif()
    exif[0x0112] = UPSIDE_RIGHT_CORNER
    exif[0x010E] = SECRET
    data = encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif, comment=SECRET.encode())
    assert SECRET.encode() in data
    upload = clean_upload(data)
    assert (upload.media_type, upload.width_px, upload.height_px) == ("image/jpeg", 20, 40)
    assert SECRET.encode() not in upload.data
    assert not opened(upload.data).getexif()


def test_notes_of_a_png_are_gone() -> None:
    """Text chunks, and the profile, whose colours are kept in those that everybody assumes."""
    notes = PngInfo()
    notes.add_text("Author", SECRET)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = Image.new("RGBA", (9, 9), (200, 100, 50, 128))
    upload = clean_upload(encoded(source, "PNG", pnginfo=notes, icc_profile=profile))
    kept = opened(upload.data)
    assert SECRET.encode() not in upload.data
    assert kept.info == {}
    assert kept.mode == "RGBA"
    assert kept.getpixel((4, 4)) == (200, 100, 50, 128)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_every_kind_of_pixels_is_taken(mode: str, kind: str) -> None:
    """And comes out in colours, with its transparency."""
    upload = clean_upload(encoded(Image.new(mode, (9, 7)), kind))
    kept = opened(upload.data)
    assert kept.size == (9, 7)
    assert kept.mode in ("RGB", "RGBA")


def test_sixteen_bits_keep_their_brightness() -> None:
    """Half of white stays half of white."""
    upload = clean_upload(encoded(Image.new("I;16", (2, 2), 0x8000), "PNG"))
    assert opened(upload.data).getpixel((0, 0)) == (128, 128, 128)


def test_a_colour_profile_that_cannot_be_read_is_dropped() -> None:
    """The picture is kept as it is."""
    upload = clean_upload(encoded(Image.new("RGB", (2, 2), "red"), "PNG", icc_profile=b"broken"))
    assert opened(upload.data).getpixel((0, 0)) == (255, 0, 0)


def test_of_a_moving_picture_the_first_is_kept() -> None:
    """Reference pictures stand still."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert getattr(opened(clean_upload(data).data), "n_frames", 1) == 1


@pytest.mark.parametrize(
    "data", [b"", b"<svg/>", encoded(Image.effect_noise((40, 40), 80), "PNG")[:-200]]
)
def test_what_is_no_whole_picture_is_refused(data: bytes) -> None:
    """Decoded to its last pixel before anything is kept."""
    with pytest.raises(NotAPicture, match="is not a whole picture"):
        clean_upload(data)
