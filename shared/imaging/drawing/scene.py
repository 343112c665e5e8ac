"""The soft layer of a picture: painted small with fading edges, then enlarged.

Opened by the picture, painted by the backdrops.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter

from shared.imaging.drawing.canvas import Colour, View, bounds
from shared.imaging.drawing.outlines import Outline, ellipse

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)

_SHORT_SIDE_PX = 64


@dataclass(frozen=True, slots=True)
class Scene:
    """The soft layer of a picture while it is painted.

    Attributes:
        image: A small image, to be enlarged to the picture's size.
        view: Where product units lie in the small image.
        hue: The scene's own hue, in whole turns.
        chances: Numbers from 0 to 1 that follow from the seed, for what may vary.
        half_width: Of the product's foot.
    """

    image: Image.Image
    view: View
    hue: float
    chances: Sequence[float]
    half_width: float

    def fill(self, top: float, bottom: float, colours: tuple[Colour, ...]) -> None:
        """Fill the full width between two heights with colours from the top down."""
        first = max(0, round(self.view.floor[1] - top * self.view.unit_px))
        last = min(self.image.height, round(self.view.floor[1] - bottom * self.view.unit_px))
        channels = bytes(channel for colour in colours for channel in colour)
        stops = Image.frombytes("RGB", (1, len(colours)), channels)
        column = stops.resize((1, last - first), Image.Resampling.BICUBIC)
        size = (self.image.width, last - first)
        self.image.paste(column.resize(size, Image.Resampling.NEAREST), (0, first))

    def glow(self, outline: Outline, colour: Colour, opacity: float, blur: float) -> None:
        """Paint an area whose edge fades over `blur` units."""
        points = self.view.to_px(outline)
        blur_px = blur * self.view.unit_px
        left, top, right, bottom = bounds(points, self.image.size, 2.5 * blur_px + 1)
        if left >= right or top >= bottom:
            return
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon(
            [(x - left, y - top) for x, y in points], fill=round(255 * opacity)
        )
        blurred = mask.filter(ImageFilter.GaussianBlur(blur_px))
        self.image.paste(colour, (left, top, right, bottom), blurred)

    def cast_shadow(self, opacity: float, length: float = 1.0) -> None:
        """Darken the floor under the product and to its right."""
        width = self.half_width
        self.glow(
            ellipse(width * 0.5 * length, 0, width * (1 + length * 0.4), 7), BLACK, opacity, 7
        )
        self.glow(ellipse(0, -1.5, width * 1.12, 5), BLACK, opacity, 2.5)


def open_scene(
    size: tuple[int, int], view: View, hue: float, chances: Sequence[float], half_width: float
) -> Scene:
    """Return an empty scene for a picture of a size in pixels."""
    scale = _SHORT_SIDE_PX / min(size)
    small = (math.ceil(size[0] * scale), math.ceil(size[1] * scale))
    small_view = View((view.floor[0] * scale, view.floor[1] * scale), view.unit_px * scale)
    return Scene(Image.new("RGB", small), small_view, hue, chances, half_width)
