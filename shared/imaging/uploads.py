"""Cleans uploaded pictures: decoded, upright, in sRGB, and without any metadata.

Imports Pillow: import this module only where a client uploads.
"""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageCms, ImageOps

from shared.imaging.decoding import opened

_PNG_OPTIONS = {"compress_level": 3}
_OTHER_OPTIONS = {"quality": 95}
_SRGB = ImageCms.createProfile("sRGB")


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture as it is kept: its pixels, and nothing else."""

    data: bytes
    media_type: str
    width_px: int
    height_px: int


def clean_upload(data: bytes) -> Upload:
    """Decode a picture and encode it anew, in its own format: turned as its camera says, in sRGB.

    What cameras and programs write beside the pixels (places, names, thumbnails, comments,
    colour profiles, further frames) is removed.

    Raises:
        NotAPicture: It is not a complete PNG, JPEG or WebP, or has more than `PIXELS_MAX` pixels.
    """
    with opened(data) as (picture, media_type):
        plain = _plain(ImageOps.exif_transpose(_in_srgb(picture)))
        out = BytesIO()
        options = _PNG_OPTIONS if media_type == "image/png" else _OTHER_OPTIONS
        plain.save(out, str(picture.format), **options)
    return Upload(out.getvalue(), media_type, plain.width, plain.height)


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Return the picture in the colours that are meant where there is no profile."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = "RGBA" if picture.mode in ("RGBA", "LA") else "RGB"
        converted = ImageCms.profileToProfile(picture, source, _SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        # A broken profile, or one for another kind of picture, cannot be followed.
        return picture
    return picture if converted is None else converted


def _plain(picture: Image.Image) -> Image.Image:
    """Return the bare pixels, in a mode that all three formats know."""
    if picture.mode.startswith("I"):
        # Sixteen bits a pixel, of which Pillow would cut off the upper ones.
        picture = picture.point(lambda level: level / 256).convert("L")
    has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    pixels = picture.convert("RGBA" if has_alpha else "RGB")
    pixels.info = {}
    return pixels
