"""Prints of the mock provider: the prompt, typeset over the scene and palette of its style."""

import cmath
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from unicodedata import category, normalize

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps

SAMPLES = 2
_FONT = Path(__file__).parents[1] / "fonts" / "literata.woff2"
_TONES = 101
_MARGIN = 6
_TYPE_SIZES = ((8.2, 1), (7.0, 2), (6.2, 2), (5.6, 3), (4.8, 4), (4.2, 5), (3.6, 6))
"""Sizes of the prompt, largest first, each with the most lines it may fill."""

PALETTES = """
studio-white 371925 853050 d95b7f f8acb7 f2e9e9 fcf9f9
studio-white 391a15 88341f da6438 f6b294 f1e9e5 fcf9f8
studio-white 12253c 285094 5c87ec adc2ff e9ebf2 f9fafc
lifestyle 341723 74364b ad536b dc8b8b f8bdb3 ffebe0
lifestyle 36180f 753a21 ac5c2e d19760 eac79b fdf0d8
lifestyle 341a09 713e12 a56217 c89c59 e2cc99 f8f2d8
flat-lay 3f1b2a a33949 d58042 dfc07f ebe5cf fbf9f0
flat-lay 003221 007b6e 00a8d4 9dc7fe dbe5f9 f4f9ff
flat-lay 2e2142 854494 d87495 f9aea2 f7ded6 fff6f2
outdoor 00282a 0c534f 428675 9cb485 fac9a3 ffe3ce
outdoor 0d2436 1f4d66 3e8296 7abaa8 dbd89e feeec1
outdoor 1d1f37 3a466b 5979a3 74b7c3 bbe1b2 e5f6cb
minimal 4d2526 a03e43 dd7767 eeac94 f4d3c1 fcefe5
minimal 1e3b1f 27762f 4ab074 88d0b0 bde5d9 e4f6f3
minimal 243251 3e5fad 8190e8 b7b7f3 dcd5f6 f5effd
dramatic 0c0506 33141a 6e282b be563d fca676 fff1d9
dramatic 02090a 00262a 004e63 0087bc 78c6ff e8f5ff
dramatic 07060d 1f1b35 4b346f 995eb2 e9a1e3 ffebf9
"""


class Plate:
    """A canvas of tones: 0 is the darkest colour of a palette, 100 the lightest.

    It has `SAMPLES` times the size of the print, for smooth edges. Lengths are in hundredths of
    the shorter side, so a small print is a large one scaled down. `chances` vary the scene.
    """

    def __init__(self, width_px: int, height_px: int, chances: Iterator[float]) -> None:
        self._scale = min(width_px, height_px) / 100 * SAMPLES
        self.image = Image.new("L", (width_px * SAMPLES, height_px * SAMPLES))
        self._draw = ImageDraw.Draw(self.image)
        self._chances = chances
        self.width, self.height = (side / self._scale for side in self.image.size)
        self.middle, self.floor = self.width / 2, self.height * 0.64

    def between(self, least: float, most: float) -> float:
        """Return the next chance, scaled to a range."""
        return least + (most - least) * next(self._chances)

    def fill(self, top: float, bottom: float, *tones: int) -> None:
        """Fill the full width between two heights with tones from the top down."""
        first, last = round(top * self._scale), round(bottom * self._scale)
        stops = Image.frombytes("L", (1, len(tones)), bytes(tones))
        column = stops.resize((1, last - first), Image.Resampling.BILINEAR)
        size = (self.image.width, last - first)
        self.image.paste(column.resize(size, Image.Resampling.NEAREST), (0, first))

    def area(self, tone: int, *points: complex) -> None:
        """Paint a polygon."""
        self._draw.polygon([(p.real * self._scale, p.imag * self._scale) for p in points], tone)

    def disc(self, tone: float, x: float, y: float, radius: float, flatness: float = 1) -> None:
        """Paint a circle; with a flatness below 1, an ellipse."""
        self._draw.ellipse(self._box(x, y, radius, radius * flatness), round(tone))

    def bar(self, tone: int, x: float, y: float, *size: float) -> None:
        """Paint a rectangle around a point: its width, its height, the radius of its corners."""
        box = self._box(x, y, size[0] / 2, size[1] / 2)
        self._draw.rounded_rectangle(box, size[2] * self._scale, tone)

    def ball(self, dark: float, light: float, x: float, y: float, radius: float) -> None:
        """Paint a ball that is lit from its upper left."""
        for share in (step / 40 for step in range(40)):
            shift, tone = 0.5 * radius * share, dark + (light - dark) * share**0.8
            self.disc(tone, x - shift, y - shift, radius * (1 - share))

    def _box(self, x: float, y: float, across: float, down: float) -> list[float]:
        return [side * self._scale for side in (x - across, y - down, x + across, y + down)]


def _studio_white(plate: Plate) -> tuple[int, int]:
    plate.fill(0, plate.height, 93, 95, 97, 100, 98, 96, 95)
    groups = (((0, 21),), ((-13, 18), (17, 10)), ((-23, 11), (0, 17), (24, 8)))
    for index, (offset, radius) in enumerate(groups[int(plate.between(0, 2.99))]):
        x, foot = plate.middle + offset, plate.floor - 2 + 3 * (index % 2)
        for tone, reach in ((90, 1.5), (84, 1.2), (74, 0.9), (50, 0.55)):
            plate.disc(tone, x + radius * (reach - 0.5) * 0.7, foot, radius * reach, 0.17)
        plate.ball(34, 86 - 5 * index, x, foot - radius, radius)
    return 0, 12


def _lifestyle(plate: Plate) -> tuple[int, int]:
    table, side = plate.floor + 3, math.copysign(1, plate.between(-1, 1))
    plate.fill(0, table, 60, 68, 73, 75)
    plate.fill(table, plate.height, 24, 20, 17, 14)
    window = complex(plate.middle - 40 + plate.between(-5, 9), 3)
    for pane in range(9):
        corner = window + pane % 3 * 17.5 + pane // 3 * (6.3 + 18.5j)
        plate.area(96, corner, corner + 15.5, corner + 21 + 16j, corner + 5.5 + 16j)
    vase, bowl = complex(plate.middle + 23 * side, table), complex(plate.middle - 17 * side, table)
    # Out along one edge and back along the other, where the sine is negative.
    leaf = [complex(1 - abs(1 - i / 8), 0.13 * math.sin(math.pi * i / 8)) for i in range(17)]
    for stem in range(-5, 6):
        turn = 0.23 * stem + plate.between(-0.1, 0.1)
        stalk = -1j * cmath.rect(plate.between(18, 32), turn)
        plate.area(42 + 10 * (stem % 2), *(vase - 17j + stalk * point for point in leaf))
    plate.area(87, *(vase + p for p in (-6.5 - 19j, 6.5 - 19j, 9.5 - 7j, 7.5, -7.5, -9.5 - 7j)))
    plate.disc(30, vase.real, table - 19, 6.5, 0.16)
    for tone, x, y, radius in ((52, -7, 17, 6.5), (42, 6.5, 18, 7.5), (62, 0, 15, 6.5)):
        plate.disc(tone, bowl.real + x, table - y, radius)
    plate.area(91, *(bowl - 16j + cmath.rect(16, math.pi * step / 40) for step in range(41)))
    plate.bar(91, bowl.real, table - 1, 13, 2, 0.4)
    plate.bar(42, plate.middle, table + 0.4, plate.width, 0.8, 0)
    return 100, 10


def _flat_lay(plate: Plate) -> tuple[int, int]:
    dots = tuple((x, y, 5.2, 5.2, 2.6) for x in (-3.3, 3.3) for y in (-3.3, 3.3))
    stripes = tuple((x, 0, 2.8, 12, 1.4) for x in (-4.5, 0, 4.5))
    cross = ((0, 0, 12, 3.4, 1.7), (0, 0, 3.4, 12, 1.7))
    things = (((0, 0, 12, 12, 6),), ((0, 0, 12, 12, 1.5),), dots, stripes, cross)
    plate.fill(0, plate.height, 86, 86)
    columns, rows = int((plate.width - 12) // 16), int((plate.floor - 9) // 16)
    left, top = plate.middle - columns * 8, 9 + (plate.floor - 9) / 2 - rows * 8
    for index in range(columns * rows):
        x, y = left + 8 + 16 * (index % columns), top + 8 + 16 * (index // columns)
        tone = (10, 28, 46, 62, 100)[int(plate.between(0, 4.99))]
        bars, has_hole = things[int(plate.between(0, 4.99))], plate.between(0, 1) > 0.5
        for shade, shift in ((75, 0.8), (tone, 0)):
            for across, down, *size in bars:
                plate.bar(shade, x + shift + across, y + shift + down, *size)
        if has_hole and len(bars) == 1:
            plate.disc(86, x, y, 3.2)
    return 0, 12


def _outdoor(plate: Plate) -> tuple[int, int]:
    plate.fill(0, plate.floor + 6, 70, 84, 93, 97)
    x, y = plate.width * plate.between(0.25, 0.75), plate.height * 0.29
    for tone, radius in ((93, 20), (96, 14), (100, 9)):
        plate.disc(tone, x, y, radius)
    for index, tone in enumerate((66, 51, 36, 21, 6)):
        base, rise = plate.height * (0.43 + 0.062 * index), 7 - 0.7 * index
        stretch = plate.between(0.8, 1.3) * math.tau / 100
        waves = [(h, t * stretch, plate.between(0, 6)) for h, t in ((0.6, 1), (0.3, 2.3), (0.1, 5))]
        ridge = [
            complex(x, base - rise * sum(h * math.sin(t * x + start) for h, t, start in waves))
            for x in (plate.width * step / 60 for step in range(61))
        ]
        plate.area(tone, plate.height * 1j, *ridge, complex(plate.width, plate.height))
    return 100, 10


def _minimal(plate: Plate) -> tuple[int, int]:
    plate.fill(0, plate.floor, 90, 87)
    plate.fill(plate.floor, plate.height, 97, 97)
    side = math.copysign(1, plate.between(-1, 1))
    half, rise, radius = plate.between(16, 20), plate.between(42, 48), plate.between(8, 11)
    for tone, width, height in ((68, half, rise), (79, half * 0.6, rise * 0.7)):
        straight = height - width
        plate.disc(tone, plate.middle, plate.floor - straight, width)
        plate.bar(tone, plate.middle, plate.floor - straight / 2, 2 * width, straight, 0)
    plate.disc(100, plate.middle - side * half * 1.1, plate.floor - rise * 0.92, radius * 0.55)
    plate.disc(42, plate.middle + side * (half + 2), plate.floor - radius, radius)
    return 0, 15


def _dramatic(plate: Plate) -> tuple[int, int]:
    plate.fill(0, plate.height, 3, 8, 11, 6, 3)
    radius, x = plate.between(14, 18), plate.middle + plate.between(-3, 6)
    lamp, foot = x - plate.between(26, 38), complex(x, plate.floor - 2)
    for tone, reach in ((17, 38), (25, 31), (33, 24)):
        plate.area(tone, lamp - reach / 16, lamp + reach / 16, foot + reach, foot - reach)
        plate.disc(tone * 1.6, x, foot.imag, reach, 0.2)
    for tone, share in ((26, 1.35), (12, 1.1), (4, 0.8)):
        plate.disc(tone, x + radius * (share - 0.6), foot.imag + 0.5, radius * share, 0.17)
    plate.ball(4, 100, x, foot.imag - radius, radius)
    return 100, 85


SCENES = {
    "studio-white": _studio_white,
    "lifestyle": _lifestyle,
    "flat-lay": _flat_lay,
    "outdoor": _outdoor,
    "minimal": _minimal,
    "dramatic": _dramatic,
}
"""Of each style: paints its scene, and returns the tones of the prompt and of the small print."""


@dataclass(frozen=True, slots=True)
class MockPrint:
    """What one print shows; `references` are the files of pictures, for its upper right.

    Attributes:
        mask: The file of a picture; where it is transparent, the first reference is too.
    """

    prompt: str
    style: str
    width_px: int
    height_px: int
    seed: int
    position: int = 0
    attempt: int = 1
    references: tuple[bytes, ...] = ()
    mask: bytes | None = None


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
    if wanted.references:
        _lay_in(picture, wanted)
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def finish(png: bytes, kind: str, compression: int | None, *, is_transparent: bool) -> bytes:
    """Return a print as a file of a kind, perhaps with all that is light shining through."""
    if kind == "png" and not is_transparent:
        return png
    with Image.open(BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    if is_transparent:
        picture.putalpha(ImageOps.invert(picture.convert("L")))
    file = BytesIO()
    picture.save(file, kind, quality=90 if compression is None else compression)
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


def _lay_in(picture: Image.Image, wanted: MockPrint) -> None:
    """Lay small copies of the references into a picture, in one frame and colours of their own."""
    unit = min(picture.size) / 100
    side_px, edge_px = round(36 * unit), round(1.6 * unit)
    columns = math.isqrt(len(wanted.references) - 1) + 1
    cell_px = max(side_px // columns, 1)
    sheet, *others = (_copy_of(each, cell_px) for each in wanted.references)
    if wanted.mask is not None:
        alphas = (each.getchannel("A") for each in (sheet, _copy_of(wanted.mask, cell_px)))
        sheet.putalpha(ImageChops.multiply(*alphas))
    if others:
        copies, rows = [sheet, *others], len(others) // columns + 1
        sheet = Image.new("RGBA", (columns * cell_px, rows * cell_px))
        for index, copy in enumerate(copies):
            sheet.paste(copy, (index % columns * cell_px, index // columns * cell_px))
    framed = Image.new("RGB", (sheet.width + 2 * edge_px, sheet.height + 2 * edge_px), "white")
    framed.paste(sheet, (edge_px, edge_px), sheet)
    few = framed.quantize(256 - _TONES)
    picture.putpalette([*(picture.getpalette() or [])[: 3 * _TONES], *(few.getpalette() or [])])
    corner = (picture.width - few.width - round(_MARGIN * unit), round(11 * unit))
    picture.paste(few.point([min(_TONES + index, 255) for index in range(256)]), corner)


def _copy_of(reference: bytes, side_px: int) -> Image.Image:
    with Image.open(BytesIO(reference)) as opened:
        opened.draft("RGB", (2 * side_px, 2 * side_px))
        size = [max(round(side * side_px / max(opened.size)), 1) for side in opened.size]
        return opened.convert("RGBA").resize(size, reducing_gap=2)
