"""Reads the containers of PNG, JPEG and WebP files, and leaves out what is not the picture.

What cameras and programs write beside the pixels (places, names, thumbnails, second pictures) is
dropped here, so that a decoder never meets it. Nothing is decoded: what is refused here costs
nothing. Imports no Pillow.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from shared.imaging.media_types import media_type_of

PIXELS_MAX = 50_000_000
WEBP_PIXELS_MAX = 25_000_000
"""The decoder of WebP has each pixel four times (Pillow, `_webp.c`, and libwebp's canvases)."""

SCANS_MAX = 100
"""Of a JPEG. Encoders write about 10, and a decoder goes over all pixels for each."""

PARTS_MAX = 100_000
"""Segments or chunks of a file."""

PROFILE_MAX_BYTES = 4 * 1024 * 1024

_ORIENTATION = 0x0112
"""EXIF 2.32, section 4.6.4."""

_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
"""Whatever ends the coded data of a scan (ITU T.81, section B.1.1)."""

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


class NotAPicture(ValueError):
    """The bytes are cut short, too large, or not an image of a known type."""


class BrokenPicture(NotAPicture):
    """The bytes are cut short or damaged; the picture itself may be whole elsewhere."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole image, and what it was found to be."""

    data: bytes
    media_type: str
    width_px: int
    height_px: int


@dataclass(slots=True)
class Container:
    """A file without what is not the picture.

    Attributes:
        data: The rest of the file: a picture of the same type.
        media_type: None for a type whose containers are not read here; `data` is the whole file.
        orientation: How the camera was held (EXIF 2.32, tag 274); 1 is upright.
        profile: The colour profile, which `data` no longer has.
        is_animated: `data` has more pictures behind the first.
        is_lossless: The pixels are kept exactly.
        size_px: Width and height as they are stored; zeros where they are not read here.
        has_alpha: Of a PNG, whether its pixels may be transparent.
    """

    data: bytes
    media_type: str | None = None
    orientation: int = 1
    profile: bytes = b""
    is_animated: bool = False
    is_lossless: bool = True
    size_px: tuple[int, int] = (0, 0)
    has_alpha: bool = False


def check_mask(mask: bytes, first: bytes) -> None:
    """Let a mask pass: a PNG with transparency, of the size of the first picture.

    Raises:
        NotAPicture: It is none.
    """
    found, size = read_container(mask), read_container(first).size_px
    if found.media_type != "image/png" or not found.has_alpha or found.size_px != size:
        needed = "must be a PNG with transparency, of the size of the first picture"
        raise NotAPicture(f"{needed} ({size[0]} x {size[1]})")


def read_container(data: bytes) -> Container:
    """Return a file without its metadata.

    Raises:
        NotAPicture: It is cut short, or would be too costly to decode.
    """
    try:
        return {
            "image/png": _read_png,
            "image/jpeg": _read_jpeg,
            "image/webp": _read_webp,
        }.get(media_type_of(data) or "", Container)(data)
    except (struct.error, IndexError) as error:
        raise BrokenPicture("is cut short") from error


def check_size(width_px: int, height_px: int, *, is_webp: bool = False) -> tuple[int, int]:
    """Return the size of a picture that has not too many pixels.

    Raises:
        NotAPicture: It has.
    """
    if width_px * height_px > (WEBP_PIXELS_MAX if is_webp else PIXELS_MAX):
        raise NotAPicture(f"has {width_px} x {height_px} pixels")
    return width_px, height_px


def _read_png(data: bytes) -> Container:
    """PNG 3, sections 5.3 and 11: critical chunks stay, of the others those that are seen."""
    kept, found, exif, xmp = [data[:8]], Container(b"", "image/png"), b"", b""
    for kind, start, end in _chunks(data, ">I4s", 8, len(data)):
        body = data[start:end]
        if kind == b"IHDR":
            found.size_px = check_size(*struct.unpack_from(">II", body))
            found.has_alpha = body[9] in (4, 6)
        found.has_alpha |= kind == b"tRNS"
        if kind[:1].isupper() or kind in (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT"):
            kept.append(data[start - 8 : end + 4])
        elif kind == b"iCCP":
            found.profile = _inflated(body.partition(b"\0")[2][1:])
        elif kind == b"eXIf":
            exif = body
        elif kind in (b"tEXt", b"zTXt") and body.startswith(b"Raw profile type exif\0"):
            # ImageMagick's: a name, a length, and hexadecimal digits.
            exif = exif or _unhexed(body[22:] if kind == b"tEXt" else _inflated(body[23:]))
        elif kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0\0"):
            xmp = body
        if kind == b"IEND":
            break
    else:
        raise BrokenPicture("is cut short")
    found.data, found.orientation = b"".join(kept), _orientation(exif, xmp)
    return found


def _read_webp(data: bytes) -> Container:
    """Google's "WebP Container Specification"."""
    found, exif, xmp = Container(b"", "image/webp", is_lossless=False), b"", b""
    kept = []
    for kind, start, end in _chunks(data, "<4sI", 12, 8 + struct.unpack_from("<I", data, 4)[0]):
        body = data[start:end]
        if kind == b"ICCP":
            found.profile = body[:PROFILE_MAX_BYTES]
        elif kind == b"EXIF":
            exif = body
        elif kind == b"XMP ":
            xmp = body
        elif kind == b"VP8X":
            width_px, height_px = (int.from_bytes(body[n : n + 3], "little") for n in (4, 7))
            found.size_px = check_size(width_px + 1, height_px + 1, is_webp=True)
            # Of its flags those of a profile, EXIF and XMP are cleared.
            kept.append(data[start - 8 : start] + bytes([body[0] & 0b0001_0010]) + body[1:])
        elif kind in (b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF"):
            if kind == b"VP8L":
                bits = int.from_bytes(body[1:5], "little")
                width_px, height_px = 1 + bits % 2**14, 1 + (bits >> 14) % 2**14
                found.size_px = check_size(width_px, height_px, is_webp=True)
            elif kind == b"VP8 ":
                width_px, height_px = struct.unpack_from("<HH", body, 6)
                found.size_px = check_size(width_px % 2**14, height_px % 2**14, is_webp=True)
            found.is_animated |= kind == b"ANMF"
            found.is_lossless |= b"VP8L" in (kind, body[16:20] if kind == b"ANMF" else b"")
            kept.append(data[start - 8 : end] + b"\0" * (len(body) % 2))
    rest = b"WEBP" + b"".join(kept)
    found.data = b"RIFF" + struct.pack("<I", len(rest)) + rest
    found.orientation = _orientation(exif, xmp)
    return found


def _chunks(data: bytes, head: str, at: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where its body starts and ends."""
    is_png = head == ">I4s"
    for _ in range(PARTS_MAX):
        if at >= size:
            return
        fields = struct.unpack_from(head, data, at)
        length, kind = fields if is_png else reversed(fields)
        end = at + 8 + length
        if end + 4 * is_png > len(data):
            raise BrokenPicture("is cut short")
        yield kind, at + 8, end
        at = end + (4 if is_png else length % 2)
    raise NotAPicture("has too many parts")


def _read_jpeg(data: bytes) -> Container:
    """ITU T.81, annex B: every segment stays but those of applications, and all to the first end.

    What follows is a second picture: of a phone's depth, of a thumbnail, of its brightness.
    """
    found, exif, xmp = Container(b"", "image/jpeg", is_lossless=False), b"", b""
    kept, at, scans, profile = [b"\xff\xd8"], 2, 0, dict[int, bytes]()
    for _ in range(PARTS_MAX):
        marker = _MARKER.search(data, at)
        if marker is None:
            raise BrokenPicture("is cut short")
        code = marker[1][0]
        if scans:
            kept.append(data[at : marker.start()])
        if code == 0xD9:
            break
        start = marker.end()
        at = start + struct.unpack_from(">H", data, start)[0]
        body = data[start + 2 : at]
        if at > len(data):
            raise BrokenPicture("is cut short")
        if code == 0xDA and (scans := scans + 1) > SCANS_MAX:
            raise NotAPicture(f"has more than {SCANS_MAX} scans")
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height_px, width_px = struct.unpack_from(">HH", body, 1)
            found.size_px = check_size(width_px, height_px)
        if code == 0xE0 and body.startswith(b"JFIF\0"):
            # Its thumbnail goes.
            kept.append(b"\xff\xe0\0\x10" + body[:12].ljust(14, b"\0"))
        elif code == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            # Says how the colours are coded (Adobe technical note 5116).
            kept.append(b"\xff\xee\0\x0e" + body[:12])
        elif code == 0xE1 and body.startswith(b"Exif\0"):
            exif = exif or body
        elif code == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = body
        elif code == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif not 0xE0 <= code <= 0xEF and code != 0xFE:
            kept.append(b"\xff" + data[marker.start() + 1 : at])
    else:
        raise NotAPicture("has too many parts")
    found.data = b"".join((*kept, b"\xff\xd9"))
    found.profile = b"".join(part for _, part in sorted(profile.items()))
    found.orientation = _orientation(exif, xmp)
    return found


def _orientation(exif: bytes, xmp: bytes) -> int:
    """Return the orientation that the metadata name; 1 where they are broken or silent."""
    while exif.startswith(b"Exif\0"):
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is not None and (value := _exif_orientation(exif, order)) is not None:
        return value if 1 <= value <= 8 else 1
    named = _XMP_ORIENTATION.search(xmp)
    return int(named[1]) if named else 1


def _exif_orientation(exif: bytes, order: str) -> int | None:
    try:
        [start] = struct.unpack_from(f"{order}I", exif, 4)
        [count] = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == _ORIENTATION:
                code = {1: "B", 4: "I"}.get(kind, "H")
                [value] = struct.unpack_from(f"{order}{code}", exif, entry + 8)
                return int(value)
    except struct.error:
        return None
    return None


def _unhexed(text: bytes) -> bytes:
    try:
        return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return b""


def _inflated(body: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, PROFILE_MAX_BYTES)
    except zlib.error:
        return b""
