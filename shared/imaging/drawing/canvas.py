"""The canvas: paints shaded, smooth-edged parts in product units; used by picture and backdrops."""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from shared.imaging.drawing.outlines import Outline, Point

Colour = tuple[int, int, int]

FLAT = (1.0,)
ROUND = (0.58, 0.8, 1.02, 1.22, 1.14, 1.0, 0.9, 0.76, 0.55)
GLOSSY = (0.5, 0.72, 0.98, 1.5, 1.16, 1.0, 0.88, 0.68, 0.86)
METAL = (0.5, 0.9, 1.45, 1.1, 0.75, 0.95, 1.3, 0.8, 0.45)
"""Light across a part, from its left to its right: 1 is its colour, 0 black, 2 white."""

_EDGE_SAMPLES = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One area of a product or a backdrop.

    Attributes:
        colour: Name of a colour of the palette.
        light: Factors across the part, at equal distances.
        is_lit_from_above: The light runs from the top down instead of from left to right.
    """

    outline: Outline
    colour: str
    light: tuple[float, ...] = FLAT
    opacity: float = 1.0
    is_lit_from_above: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """Where product units lie in the picture.

    Attributes:
        floor: The pixel of the point (0, 0), where the product stands.
        unit_px: Pixels per unit.
        contrast: How strongly light and shade differ from the plain colour.
    """

    floor: Point
    unit_px: float
    contrast: float = 1.0

    def to_px(self, outline: Outline) -> list[Point]:
        """Return the outline in pixels."""
        (left, bottom), scale = self.floor, self.unit_px
        return [(left + x * scale, bottom - y * scale) for x, y in outline]


def paint(
    image: Image.Image, view: View, parts: tuple[Part, ...], palette: Mapping[str, Colour]
) -> None:
    """Paint the parts over the image, one on top of the other."""
    for part in parts:
        _paint_part(image, view, part, palette[part.colour])


def bounds(
    points: Sequence[Point], size: tuple[int, int], margin: float = 1
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the pixels around the points, inside the image.

    They are empty (left >= right, or top >= bottom) where the points lie outside it.
    """
    xs, ys = zip(*points, strict=True)
    return (
        max(0, int(min(xs) - margin)),
        max(0, int(min(ys) - margin)),
        min(size[0], int(max(xs) + margin) + 1),
        min(size[1], int(max(ys) + margin) + 1),
    )


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour at some light: 0 is black, 1 the colour itself, 2 white."""
    if factor <= 1:
        return _rounded(channel * max(factor, 0) for channel in colour)
    towards_white = min(factor, 2) - 1
    return _rounded(channel + (255 - channel) * towards_white for channel in colour)


def blend(one: Colour, other: Colour, share: float) -> Colour:
    """Return a mixture of two colours; share 0 is the first, 1 the second."""
    return _rounded(a + (b - a) * share for a, b in zip(one, other, strict=True))


def from_hue(hue: float, lightness: float, saturation: float) -> Colour:
    """Return a colour by its hue (whole turns), lightness and saturation (0 to 1)."""
    return _rounded(
        255 * channel for channel in colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    )


def _rounded(channels: Iterable[float]) -> Colour:
    red, green, blue = (round(channel) for channel in channels)
    return red, green, blue


def _paint_part(image: Image.Image, view: View, part: Part, colour: Colour) -> None:
    points = view.to_px(part.outline)
    left, top, right, bottom = bounds(points, image.size)
    if left >= right or top >= bottom:
        return
    size = (right - left, bottom - top)
    mask = Image.new("L", (size[0] * _EDGE_SAMPLES, size[1] * _EDGE_SAMPLES))
    ImageDraw.Draw(mask).polygon(
        [((x - left) * _EDGE_SAMPLES, (y - top) * _EDGE_SAMPLES) for x, y in points],
        fill=round(255 * part.opacity),
    )
    filling = colour if part.light == FLAT else _lit(part, colour, size, view.contrast)
    image.paste(filling, (left, top, right, bottom), mask.reduce(_EDGE_SAMPLES))


def _lit(part: Part, colour: Colour, size: tuple[int, int], contrast: float) -> Image.Image:
    channels = bytearray()
    for factor in part.light:
        channels.extend(shade(colour, 1 + (factor - 1) * contrast))
    count = len(part.light)
    if part.is_lit_from_above:
        strip = Image.frombytes("RGB", (1, count), bytes(channels))
        line = strip.resize((1, size[1]), Image.Resampling.BICUBIC)
    else:
        strip = Image.frombytes("RGB", (count, 1), bytes(channels))
        line = strip.resize((size[0], 1), Image.Resampling.BICUBIC)
    return line.resize(size, Image.Resampling.NEAREST)
