"""Prints of the mock provider: the prompt, typeset over the scene and palette of its style."""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from unicodedata import category, normalize

from PIL import Image, ImageDraw, ImageFont

from shared.imaging.mock_patterns import PALETTES, SAMPLES, SCENES, Plate

_FONT = Path(__file__).parents[1] / "fonts" / "literata.woff2"
_TONES = 101
_MARGIN = 6
_TYPE_SIZES = ((8.2, 1), (7.0, 2), (6.2, 2), (5.6, 3), (4.8, 4), (4.2, 5), (3.6, 6))
"""Sizes of the prompt, largest first, each with the most lines it may fill."""


@dataclass(frozen=True, slots=True)
class MockPrint:
    """What one print shows; `reference` is the file of a picture, for its upper right."""

    prompt: str
    style: str
    width_px: int
    height_px: int
    seed: int
    position: int = 0
    attempt: int = 1
    reference: bytes | None = None


def draw_png(wanted: MockPrint) -> bytes:
    """Return a print as a PNG file; the same print always has the same bytes."""
    first, *rest = shake_256(f"{wanted.style} {wanted.seed}".encode()).digest(512)
    plate = Plate(wanted.width_px, wanted.height_px, (byte / 255 for byte in rest))
    inks = SCENES[wanted.style](plate)
    tones = plate.image.reduce(SAMPLES)
    _typeset(tones, wanted, *inks)
    # With a palette a pixel is one byte: the file is small and quickly compressed.
    picture = Image.frombytes("P", tones.size, tones.tobytes())
    picture.putpalette(_colours(wanted.style, first))
    if wanted.reference is not None:
        _lay_in(picture, wanted.reference)
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _colours(style: str, chance: int) -> bytes:
    palettes = [line.split()[1:] for line in PALETTES.splitlines() if line.startswith(style)]
    stops = bytes.fromhex("".join(palettes[chance % len(palettes)]))
    strip, ends = Image.frombytes("RGB", (6, 1), stops), (0.5, 0, 5.5, 1)
    return strip.resize((_TONES, 1), Image.Resampling.BILINEAR, ends).tobytes()


def _typeset(image: Image.Image, wanted: MockPrint, ink: int, faint: int) -> None:
    draw, unit = ImageDraw.Draw(image), min(image.size) / 100
    left, right, foot = _MARGIN * unit, image.width - _MARGIN * unit, image.height - _MARGIN * unit
    size, lines = _fit(wanted.prompt, (right - left) / unit)
    for index, line in enumerate(reversed(lines)):
        place = (left, foot - index * 1.2 * size * unit)
        draw.text(place, line, ink, _font(size * unit), "ls")
    note = f"no. {wanted.position + 1}, attempt {wanted.attempt}"
    for text, x, anchor in (("mock", left, "ls"), (note, right, "rs")):
        draw.text((x, (_MARGIN + 1) * unit), text, faint, _font(2.7 * unit), anchor)


def _fit(prompt: str, width: float) -> tuple[float, list[str]]:
    """Return the size of the prompt and its lines; a prompt that is too long is cut short."""
    # The font shows a block for each letter it lacks. Marks and controls would be blocks, too.
    start = normalize("NFC", prompt if len(prompt) <= 300 else prompt[:300] + "…")
    text = "".join(" " if category(each)[0] in "CM" else each for each in start).strip() or "…"
    measure = _font(100).getlength
    letter = measure(text) / len(text)
    for size, most in _TYPE_SIZES:
        room = 94 * width / size  # of 100: small letters are rounded up to whole pixels
        widest, is_last = int(room / letter), size == _TYPE_SIZES[-1][0]
        # Narrow columns come first: they leave no single word in the last line.
        for columns in range(widest, 0, -2) if is_last else range(len(text) // most, widest + 3):
            lines = wrap(text, columns or 1, max_lines=most, placeholder="…")
            if max(map(measure, lines)) <= room and (is_last or lines[-1][-1] != "…"):
                return size, lines
    return size, ["…"]


@lru_cache(64)
def _font(size_px: float) -> ImageFont.FreeTypeFont:
    # Every build of Pillow has the basic layout; Raqm is an option.
    return ImageFont.truetype(_FONT, size_px, layout_engine=ImageFont.Layout.BASIC)


def _lay_in(picture: Image.Image, reference: bytes) -> None:
    """Lay a small framed copy of the reference into a picture, in colours of its own."""
    unit = min(picture.size) / 100
    side_px, edge_px = round(36 * unit), round(1.6 * unit)
    with Image.open(BytesIO(reference)) as opened:
        opened.draft("RGB", (2 * side_px, 2 * side_px))
        size = [max(round(side * side_px / max(opened.size)), 1) for side in opened.size]
        copy = opened.convert("RGBA").resize(size, reducing_gap=2)
    framed = Image.new("RGB", (copy.width + 2 * edge_px, copy.height + 2 * edge_px), "white")
    framed.paste(copy, (edge_px, edge_px), copy)
    few = framed.quantize(256 - _TONES)
    picture.putpalette([*(picture.getpalette() or [])[: 3 * _TONES], *(few.getpalette() or [])])
    corner = (picture.width - few.width - round(_MARGIN * unit), round(11 * unit))
    picture.paste(few.point([min(_TONES + index, 255) for index in range(256)]), corner)
