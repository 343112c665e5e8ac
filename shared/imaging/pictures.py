"""The one place that judges picture bytes: by decoding them.

Whatever a decoder raises becomes `NotAPicture`, with a reason. Imports Pillow: import this module
only where a provider answers, or in the process that decodes an upload.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import product
from typing import Any

from PIL import AvifImagePlugin, Image, JpegImagePlugin

from shared.deadline import shielded
from shared.imaging.containers import (
    BrokenPicture,
    Container,
    NotAPicture,
    Picture,
    check_size,
    read_container,
)
from shared.imaging.media_types import UPLOAD_MAX_BYTES

_MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_UPLOADED = (*_MEDIA_TYPES, "AVIF")
_ANSWERED = (*_UPLOADED, "GIF", "BMP", "TIFF")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What stands a picture upright, by its orientation (EXIF 2.32, tag 274)."""

_PLAIN_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_SRGB_DIFFERENCE = 2
"""Of 255: how far a profile may differ from sRGB, and still be the same to the eye."""

_QUALITIES = (95, 85, 75)
"""Of a picture that cannot be encoded as its source was."""

Choice = tuple[str, dict[str, Any]]
"""A format, and the options of its encoder."""

# One thread, so that the limits on time and memory hold on a machine with many cores.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def measure(data: bytes) -> Picture:
    """Decode an image of a provider to its last pixel, and return it as it is kept.

    A PNG, JPEG or WebP that stands upright is kept byte for byte. Others are encoded anew.

    Raises:
        NotAPicture: It cannot be decoded, or it has too many pixels.
    """
    with _opened(data, _ANSWERED) as (picture, container):
        if container.media_type is None or container.orientation != 1:
            return _encoded(_plain_of(picture, container), picture, container)
        return Picture(data, container.media_type, *picture.size)


def clean(data: bytes) -> Picture:
    """Return an uploaded picture upright, in sRGB, still, and with nothing but its pixels.

    A file that is all that already is kept without encoding it anew, but for its metadata.

    Raises:
        NotAPicture: It is not a complete PNG, JPEG, WebP or AVIF, has too many pixels, or would
            be kept as much more than was sent.
    """
    with _opened(data, _UPLOADED) as (picture, container):
        plain = _plain_of(picture, container)
        if container.media_type is None or container.is_animated or plain is not picture:
            return _encoded(plain, picture, container, max(2 * len(data), UPLOAD_MAX_BYTES))
        return Picture(container.data, container.media_type, *picture.size)


@contextmanager
def _opened(data: bytes, formats: tuple[str, ...]) -> Iterator[tuple[Image.Image, Container]]:
    """Yield an image that was decoded to its last pixel, and its container.

    Raises:
        NotAPicture: As `measure`; also for whatever Pillow raises in the body.
    """
    # A soft limit that strikes in here must not look like a fault of the picture.
    with shielded():
        try:
            container = read_container(data)
            with Image.open(BytesIO(container.data), formats=formats) as picture:
                check_size(*picture.size)
                picture.load()
                if container.media_type is None:
                    container.orientation = picture.getexif().get(0x0112, 1)
                    container.profile = picture.info.get("icc_profile") or b""
                    container.is_lossless = picture.format != "AVIF"
                yield picture, container
        except NotAPicture:
            raise
        except MemoryError as error:
            raise NotAPicture("needs too much memory") from error
        # Decoders of foreign bytes raise anything: from struct.error to ZeroDivisionError.
        except Exception as error:
            raise BrokenPicture(f"is not a whole picture ({type(error).__name__})") from error


def _plain_of(picture: Image.Image, container: Container) -> Image.Image:
    """Return a picture upright and in sRGB: itself, if it is both already."""
    turn = _TURNS.get(container.orientation)
    if turn is None:
        return _in_srgb(picture, container)
    turned = picture.transpose(turn)
    picture.close()  # Of a large picture there is memory for two, not for three.
    return _in_srgb(turned, container)


def _in_srgb(picture: Image.Image, container: Container) -> Image.Image:
    """Return the picture in the colours that are meant where there is no profile."""
    if picture.mode.startswith("I;16"):
        # Sixteen bits a pixel, of which Pillow would cut off the upper ones.
        picture = _in_eight_bits(picture)
    if container.profile:
        # Imported here because a worker seldom needs the library of colour profiles.
        from PIL import ImageCms

        # A broken profile, or one for another kind of picture, cannot be followed.
        with suppress(ImageCms.PyCMSError, OSError, ValueError):
            picture = _converted(picture, ImageCms.ImageCmsProfile(BytesIO(container.profile)))
    return picture if picture.mode in _PLAIN_MODES else _plain(picture)


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """Return a grey picture of sixteen bits in eight; one level of it may be transparent."""
    grey = picture.point(lambda level: level / 257).convert("L")
    level = picture.info.get("transparency")
    grey.info.pop("transparency", None)
    if not isinstance(level, int):
        return grey
    # Two levels that are one in eight bits differ: both bytes are compared, the lower one first.
    from PIL import ImageChops

    planes = Image.frombytes("LA", picture.size, picture.tobytes("raw", "I;16")).split()
    wanted = (level & 0xFF, level >> 8)
    same = [
        plane.point([255 * (n == byte) for n in range(256)])
        for plane, byte in zip(planes, wanted, strict=True)
    ]
    return Image.merge("LA", (grey, ImageChops.invert(ImageChops.darker(*same))))


def _converted(picture: Image.Image, profile: Any) -> Image.Image:
    from PIL import ImageChops, ImageCms

    space = profile.profile.xcolor_space.strip()
    mode = {"GRAY": "L", "CMYK": "CMYK"}.get(space, "RGB")
    if (mode == "CMYK") != (picture.mode == "CMYK"):
        raise ValueError(f"{picture.mode} with a profile of {space}")
    convert = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode != "CMYK":
        levels = range(0, 256, 51)
        cube = bytes(level for colour in product(levels, repeat=3) for level in colour)
        probe = Image.frombytes("RGB", (len(cube) // 3, 1), cube).convert(mode)
        difference = ImageChops.difference(convert.apply(probe), probe.convert("RGB"))
        if max(difference.tobytes()) <= _SRGB_DIFFERENCE:
            return picture
    alpha = _plain(picture).getchannel("A") if picture.has_transparency_data else None
    bare = _plain(picture).convert("RGB") if alpha or picture.mode == "P" else picture
    converted = convert.apply(bare if bare.mode == mode else bare.convert(mode))
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _plain(picture: Image.Image) -> Image.Image:
    """Return the pixels in a mode that all formats know."""
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _encoded(
    picture: Image.Image, source: Image.Image, container: Container, most_bytes: float = math.inf
) -> Picture:
    """Encode pixels as their source was, so that the eye sees no difference."""
    picture.info = {name: picture.info[name] for name in ("transparency",) if name in picture.info}
    data = b""
    for kind, options in _choices(picture, source, container):
        file = BytesIO()
        picture.save(file, kind, **options)
        data = file.getvalue()
        if len(data) <= most_bytes:
            return Picture(data, _MEDIA_TYPES[kind], *picture.size)
    raise NotAPicture(f"would be kept as {len(data)} bytes")


def _choices(picture: Image.Image, source: Image.Image, container: Container) -> list[Choice]:
    """Return how the picture may be encoded; the first whose file is not too large is taken."""
    # Either takes seconds for many pixels, with the least effort.
    lossless_webp = ("WEBP", {"lossless": True, "exact": True, "quality": 0, "method": 0})
    png = ("PNG", {"compress_level": 3})
    if container.is_lossless:
        return [lossless_webp if container.media_type == "image/webp" else png]
    lossy_webps = [("WEBP", {"quality": quality}) for quality in _QUALITIES]
    if container.media_type == "image/webp":
        return lossy_webps
    if picture.has_transparency_data:
        return [png, *lossy_webps]
    if not isinstance(source, JpegImagePlugin.JpegImageFile) or source.mode not in ("L", "RGB"):
        return [("JPEG", {"quality": quality, "subsampling": 0}) for quality in _QUALITIES]
    sampling = JpegImagePlugin.get_sampling(source)
    tables = source.quantization
    if container.orientation >= 5:
        # Turned by a quarter, as the tables then are. Colours that were halved across only would
        # be halved the other way: they are not halved.
        tables = {
            number: [table[8 * (n % 8) + n // 8] for n in range(64)]
            for number, table in tables.items()
        }
        sampling = 0 if sampling == 1 else sampling
    return [("JPEG", {"qtables": tables, "subsampling": max(sampling, 0)})]
