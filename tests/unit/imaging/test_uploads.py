"""What any phone, camera or program makes: kept as the eye sees it, or refused with a reason."""

import random
import struct
import time
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageOps, JpegImagePlugin
from PIL.PngImagePlugin import PngInfo

from shared.imaging.containers import NotAPicture, Picture
from shared.imaging.pictures import clean
from shared.imaging.uploads import clean_upload

CASES = Path(__file__).parents[2] / "cases" / "uploads"
SECRET = "51.5007 N 0.1246 W"
WIDE_GAMUT = (CASES / "wide-gamut.icc").read_bytes()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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


def logo(mode: str = "RGB") -> Image.Image:
    """Return a red sign on black, with another colour in each corner."""
    picture = Image.new("RGB", (64, 48))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((13, 9, 50, 38), fill=(230, 20, 30))
    for corner, colour in (((0, 0), "white"), ((56, 0), "lime"), ((0, 40), "blue")):
        draw.rectangle((*corner, corner[0] + 7, corner[1] + 7), fill=colour)
    return picture.convert(mode)


def exif_of(orientation: int) -> Image.Exif:
    """Return what a camera says of how it was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = SECRET
    return exif


def seen(data: bytes) -> Image.Image:
    """Return what a viewer shows: by Pillow's own functions, not by ours."""
    picture = ImageOps.exif_transpose(opened(data))
    profile = picture.info.get("icc_profile")
    shown = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if profile:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        changed = ImageCms.profileToProfile(shown, source, srgb, outputMode=shown.mode)
        assert changed is not None
        shown = changed
    return shown.convert("RGBA")


def difference(one: Image.Image, other: Image.Image) -> int:
    """Return by how much the pixels differ at most, from 0 to 255."""
    assert one.size == other.size
    return max(ImageChops.difference(one, other).tobytes())


def check_clean(sent: bytes, kept: Picture, most: int = 0) -> None:
    """Check that what is kept looks as what was sent, and says nothing else."""
    picture = opened(kept.data)
    assert picture.size == (kept.width_px, kept.height_px)
    assert difference(seen(kept.data), seen(sent)) <= most
    assert not picture.info.keys() & {"exif", "icc_profile", "xmp", "comment", "mp"}
    assert SECRET.encode() not in kept.data
    assert getattr(picture, "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("two-pictures.jpg", (64, 48)),
        ("exif-minus-one-over-zero.jpg", (48, 64)),
        ("exif-garbage.png", (64, 48)),
        ("ztxt-2mb.png", (64, 64)),
        ("icc-orient6.jpg", (48, 64)),
        ("icc-orient6.png", (48, 64)),
        ("icc-orient6.webp", (48, 64)),
        ("orient6.jpg", (48, 64)),
        ("trns-icc.png", (64, 64)),
    ],
)
def test_every_upload_of_the_real_world_is_kept_upright(name: str, size: tuple[int, int]) -> None:
    """Each is a whole picture, whatever is beside its pixels."""
    kept = clean((CASES / name).read_bytes())
    picture = opened(kept.data)
    assert picture.size == (kept.width_px, kept.height_px) == size
    assert picture.format != "MPO"
    assert not picture.info.keys() & {"exif", "icc_profile", "xmp", "mp"}


def test_a_transparent_colour_stays_transparent_with_a_profile() -> None:
    """Also where the colours change."""
    sent = logo()
    notes = {"transparency": (255, 255, 255), "icc_profile": WIDE_GAMUT}
    kept = opened(clean(encoded(sent, "PNG", **notes)).data).convert("RGBA").getchannel("A")
    assert (kept.getpixel((2, 2)), kept.getpixel((32, 24))) == (0, 255)
    case = opened(clean((CASES / "trns-icc.png").read_bytes()).data).convert("RGBA")
    assert case.getchannel("A").getpixel((0, 0)) == 0


@pytest.mark.parametrize("profile", [None, SRGB, WIDE_GAMUT], ids=["plain", "srgb", "wide"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options", "most"),
    [
        ("JPEG", {"subsampling": 0, "quality": 95}, 24),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
    ],
)
def test_pictures_are_stood_upright_in_srgb(
    kind: str, options: dict[str, Any], most: int, orientation: int, profile: bytes | None
) -> None:
    """In all eight orientations, with and without a colour profile."""
    others = {"icc_profile": profile} if profile else {}
    sent = encoded(logo(), kind, exif=exif_of(orientation), **options, **others)
    kept = clean(sent)
    assert kept.media_type == f"image/{kind.lower()}"
    # A profile that is as good as sRGB is dropped, where lcms rounds by one or two.
    check_clean(sent, kept, max(most, 2 if profile == SRGB else 0))


def test_one_level_of_sixteen_bits_is_transparent() -> None:
    """Although others are the same in eight bits."""
    sent = Image.new("I;16", (3, 1), 0x8081)
    sent.putpixel((1, 0), 0x8080)
    sent.putpixel((2, 0), 0x7F80)
    buffer = BytesIO()
    sent.save(buffer, "PNG", transparency=0x8080)
    kept = opened(clean(buffer.getvalue()).data).convert("LA")
    assert kept.getchannel("A").tobytes() == b"\xff\0\xff"
    assert kept.getchannel("L").tobytes() == b"\x80\x80\x7f"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_every_kind_of_png_keeps_its_pixels(mode: str, orientation: int) -> None:
    """Grey, with a palette, with transparency; lossless stays lossless."""
    sent = logo("L").convert("I;16") if mode == "I;16" else logo("RGB").convert(mode)
    data = encoded(sent, "PNG", exif=exif_of(orientation))
    kept = opened(clean(data).data)
    if mode == "I;16":
        # Half of white stays half of white, in eight bits.
        half = encoded(Image.new("I;16", (2, 2), 0x8080), "PNG")
        assert opened(clean(half).data).convert("RGB").getpixel((0, 0)) == (128, 128, 128)
    else:
        assert difference(seen(encoded(kept, "PNG")), seen(data)) == 0


def test_palette_transparency_and_profile_go_together() -> None:
    """The transparent entry stays transparent."""
    sent = logo("RGBA")
    sent.putalpha(logo("L").point(lambda level: 0 if level == 0 else 255))
    data = encoded(sent.quantize(8), "PNG", icc_profile=WIDE_GAMUT)
    check_clean(data, clean(data), 1)


@pytest.mark.parametrize("profile", [None, "not a profile"])
def test_cmyk_becomes_srgb(profile: str | None) -> None:
    """As a viewer without a profile shows it; a broken profile counts as none."""
    others = {"icc_profile": profile.encode()} if profile else {}
    data = encoded(logo("CMYK"), "JPEG", quality=95, **others)
    kept = opened(clean(data).data)
    assert kept.mode == "RGB"
    assert difference(kept.convert("RGBA"), opened(data).convert("RGB").convert("RGBA")) <= 24


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_a_jpeg_keeps_its_sampling_of_colours(sampling: int) -> None:
    """A red sign on black is not blurred by being turned."""
    sent = encoded(logo(), "JPEG", quality=90, subsampling=sampling, exif=exif_of(3))
    kept = clean(sent)
    before, after = opened(sent), opened(kept.data)
    assert JpegImagePlugin.get_sampling(after) == sampling
    assert getattr(after, "quantization", 0) == getattr(before, "quantization", 1)
    check_clean(sent, kept, 60 if sampling else 24)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 70}),
        ("PNG", {}),
        ("WEBP", {"quality": 70}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_what_needs_no_change_is_kept_byte_for_byte(kind: str, options: dict[str, Any]) -> None:
    """No second encoding; and where there are notes, nothing but these is missing."""
    bare = encoded(logo(), kind, **options)
    assert clean(bare).data == bare
    noted = encoded(logo(), kind, exif=exif_of(1), icc_profile=SRGB, **options)
    assert len(clean(noted).data) <= len(bare) + 24
    assert difference(opened(clean(noted).data).convert("RGB"), opened(bare).convert("RGB")) == 0


def test_the_notes_of_cameras_and_programs_are_removed() -> None:
    """Places, comments and text, wherever a format keeps them."""
    notes = PngInfo()
    for name in ("Author", "XML:com.adobe.xmp"):
        notes.add_itxt(name, SECRET)
    notes.add_text("Place", SECRET)
    for data in (
        encoded(logo(), "JPEG", exif=exif_of(1), comment=SECRET.encode(), xmp=SECRET.encode()),
        encoded(logo(), "PNG", exif=exif_of(1), pnginfo=notes),
        encoded(logo(), "WEBP", exif=exif_of(1), xmp=SECRET.encode(), lossless=True),
    ):
        assert SECRET.encode() in data
        check_clean(data, clean(data))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0" + exif_of(6).tobytes(),
    ],
    ids=["empty", "garbage", "offset", "count", "doubled"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_harms_no_picture(kind: str, exif: bytes) -> None:
    """Its pixels are whole; a header that stands there twice is read all the same."""
    kept = clean(encoded(logo(), kind, exif=exif))
    is_turned = exif.count(b"Exif") == 2
    assert (kept.width_px, kept.height_px) == ((48, 64) if is_turned else (64, 48))


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "AVIF"])
def test_of_a_moving_picture_the_first_is_kept(kind: str) -> None:
    """Reference pictures stand still."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    kept = opened(clean(data).data)
    assert getattr(kept, "n_frames", 1) == 1
    assert difference(kept.convert("RGBA"), frames[0].convert("RGBA")) <= 4


def test_the_brightness_map_of_a_phone_is_cut_off() -> None:
    """Ultra HDR: a second JPEG behind the first, which MPF and XMP name."""
    name = b"http://ns.adobe.com/xap/1.0/\0" + b"<x:xmpmeta hdrgm:Version='1.0'/>"
    first = encoded(logo(), "JPEG", quality=90)
    mark = b"\xff\xe1" + struct.pack(">H", len(name) + 2) + name
    mpf = b"MPF\0" + b"II*\0" + bytes(60)
    mark += b"\xff\xe2" + struct.pack(">H", len(mpf) + 2) + mpf
    data = first[:2] + mark + first[2:] + encoded(logo("L"), "JPEG")
    assert clean(data).data == first


@pytest.mark.parametrize(("mode", "media_type"), [("RGB", "image/jpeg"), ("RGBA", "image/png")])
def test_avif_is_kept_as_what_every_provider_reads(mode: str, media_type: str) -> None:
    """With its transparency."""
    sent = logo(mode)
    if mode == "RGBA":
        sent.putalpha(128)
    data = encoded(sent, "AVIF", quality=95, subsampling="4:4:4", exif=exif_of(1))
    kept = clean(data)
    assert kept.media_type == media_type
    check_clean(data, kept, 16)


# -- what is refused -------------------------------------------------------------------------


def scans_of(count: int) -> bytes:
    """Return a JPEG whose last scan comes again and again."""
    data = encoded(Image.new("RGB", (3000, 2000), "red"), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * count + data[-2:]


def flat(kind: str, width: int, height: int, **options: Any) -> bytes:
    """Return a small file of many pixels."""
    return encoded(Image.new("RGB", (width, height)), kind, **options)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: b"", "is not a whole picture"),
        (lambda: b"<svg/>", "is not a whole picture"),
        (lambda: b"....ftypheic....", "is not a whole picture"),
        (lambda: encoded(logo(), "GIF"), "is not a whole picture"),
        (lambda: encoded(Image.effect_noise((40, 40), 80), "PNG")[:-200], "is cut short"),
        (lambda: encoded(Image.effect_noise((40, 40), 80), "JPEG")[:-9], "is cut short"),
        (lambda: encoded(Image.effect_noise((40, 40), 80), "WEBP")[:-9], "is cut short"),
        (lambda: scans_of(54_652), "has more than 100 scans"),
        (partial(flat, "WEBP", 7000, 7000, lossless=True, quality=0, method=0), "7000 x 7000"),
        (partial(flat, "JPEG", 8000, 6300, quality=10), "8000 x 6300"),
        (partial(flat, "PNG", 8000, 6300), "8000 x 6300"),
    ],
    ids=[
        *("empty", "text", "heic", "gif", "cut-png", "cut-jpeg", "cut-webp", "scans"),
        *("webp-pixels", "jpeg-pixels", "png-pixels"),
    ],
)
def test_what_is_no_picture_or_too_costly_is_refused(
    make: Callable[[], bytes], reason: str
) -> None:
    """Before anything is decoded, where the header already says so."""
    data = make()
    started_at = time.process_time()
    with pytest.raises(NotAPicture, match=reason):
        clean(data)
    assert time.process_time() - started_at < 1


def test_a_profile_that_is_a_bomb_is_none() -> None:
    """And costs no memory."""
    body = b"x\0\0" + zlib.compress(bytes(200_000_000), 9)
    chunk = b"iCCP" + body
    sent = encoded(logo(), "PNG")
    bomb = struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert clean(sent[:33] + bomb + sent[33:]).data == sent


def test_whatever_bytes_come_it_is_one_error() -> None:
    """A thousand damaged files, and none that ends in a decoder's own error."""
    chance = random.Random(7)
    sources = [path.read_bytes() for path in sorted(CASES.iterdir()) if path.suffix != ".icc"]
    sources += [encoded(logo(), kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF")]
    kept = 0
    for _ in range(1000):
        data = bytearray(chance.choice(sources))
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.choice([len(data), chance.randrange(len(data))]) :]
        try:
            picture = clean(bytes(data))
        except NotAPicture:
            continue
        assert opened(picture.data).size == (picture.width_px, picture.height_px)
        kept += 1
    assert 100 < kept < 900


# -- the process of its own ------------------------------------------------------------------


def test_an_upload_is_cleaned_in_a_process_of_its_own() -> None:
    """With the same result, or the same reason."""
    sent = (CASES / "icc-orient6.jpg").read_bytes()
    assert clean_upload(sent) == clean(sent)
    with pytest.raises(NotAPicture, match="is not a whole picture"):
        clean_upload(b"<svg/>")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"memory_bytes": 200_000_000}, "needs too much memory"),
        ({"cpu_seconds": 1}, "takes too long to decode"),
    ],
    ids=["memory", "time"],
)
def test_what_goes_beyond_a_limit_ends_that_process_alone(
    limits: dict[str, int], reason: str
) -> None:
    """With the reason; the limits of uploads are kept by the same means."""
    large = Image.new("RGBA", (7000, 7000))
    sent = encoded(large, "PNG", icc_profile=WIDE_GAMUT, exif=exif_of(6), compress_level=1)
    with pytest.raises(NotAPicture, match=reason):
        clean_upload(sent, **limits)
