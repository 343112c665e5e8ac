"""A product picture: the product on the backdrop of its style; called by the mock provider.

The product and its colour follow from the prompt, the style gives the scene, and the seed
varies the rest, so that the images of one job show one product.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from PIL import Image

from shared.imaging.drawing.backdrops import BACKDROPS, paint_backdrop
from shared.imaging.drawing.canvas import FLAT, Colour, Part, View, from_hue, paint, shade
from shared.imaging.drawing.outlines import ellipse
from shared.imaging.drawing.png import encode_png
from shared.imaging.drawing.products import Product, choose_product
from shared.imaging.drawing.scene import open_scene

_UNITS_ACROSS = 165.0
_FLOOR_SHARE = 0.76
_REFLECTION_UNITS = 30.0

_COLOUR_WORDS: Mapping[str, Colour] = {
    "red": (196, 52, 48),
    "orange": (232, 126, 48),
    "yellow": (238, 194, 66),
    "green": (72, 140, 92),
    "teal": (46, 138, 142),
    "blue": (58, 104, 176),
    "purple": (122, 82, 160),
    "pink": (228, 142, 164),
    "brown": (132, 90, 62),
    "black": (52, 52, 58),
    "white": (232, 230, 226),
    "grey": (142, 144, 150),
    "gray": (142, 144, 150),
}


def draw_png(prompt: str, style: str, width_px: int, height_px: int, seed: int) -> bytes:
    """Return a picture as a PNG file; the same arguments give the same bytes."""
    subject = _chances(prompt)
    variation = _chances(f"{prompt}\0{style}\0{seed}")
    product = choose_product(prompt, int(subject[0] * 1e6))
    hue = subject[1] + 0.05 * (variation[0] - 0.5)
    image = _compose(product, style, (width_px, height_px), hue, variation, prompt)
    if variation[1] > 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return encode_png(image)


def _chances(text: str) -> Sequence[float]:
    return [byte / 255 for byte in sha256(text.encode()).digest()]


def _compose(
    product: Product,
    style: str,
    size: tuple[int, int],
    hue: float,
    variation: Sequence[float],
    prompt: str,
) -> Image.Image:
    backdrop = BACKDROPS[style]
    view = _place(size, variation, backdrop.contrast)
    scene_hue = hue + (0.5 if variation[2] > 0.5 else 0.06) + 0.1 * variation[3]
    scene = open_scene(size, view, scene_hue, variation[8:], product.half_width)
    image = paint_backdrop(size, view, scene, backdrop)
    palette = _palette(prompt, hue, hue + 0.3 + 0.4 * variation[4])
    contact = Part(ellipse(0, -1.5, product.half_width * 1.03, 4), "ink", FLAT, 0.45)
    paint(image, view, (contact, *product.parts), palette)
    if backdrop.reflection:
        _reflect(image, view, backdrop.reflection)
    return image


def _place(size: tuple[int, int], variation: Sequence[float], contrast: float) -> View:
    width, height = size
    unit_px = min(size) / (_UNITS_ACROSS * (0.94 + 0.12 * variation[5]))
    middle = width * (0.5 + 0.05 * (variation[6] - 0.5))
    floor = height / 2 + (_FLOOR_SHARE - 0.5) * min(size)
    return View((middle, floor), unit_px, contrast)


def _palette(prompt: str, hue: float, accent_hue: float) -> Mapping[str, Colour]:
    words = prompt.lower().split()
    named = [_COLOUR_WORDS[word] for word in words if word in _COLOUR_WORDS]
    body = named[0] if named else from_hue(hue, 0.48, 0.4)
    return {
        "body": body,
        "accent": from_hue(accent_hue, 0.4, 0.42),
        "lid": shade(from_hue(accent_hue, 0.4, 0.42), 1.1),
        "cream": (240, 235, 224),
        "ink": (44, 42, 48),
        "metal": (168, 170, 178),
        "glow": (250, 226, 168),
        "coffee": (78, 48, 32),
        "white": (255, 255, 255),
    }


def _reflect(image: Image.Image, view: View, opacity: float) -> None:
    """Mirror what stands on the floor in it, fading with the distance."""
    line = round(view.floor[1] + 4 * view.unit_px)
    depth = min(round(_REFLECTION_UNITS * view.unit_px), image.height - line, line)
    above = image.crop((0, line - depth, image.width, line))
    levels = bytes(round(255 * opacity * (1 - row / depth)) for row in range(depth))
    fading = Image.frombytes("L", (1, depth), levels)
    mask = fading.resize((image.width, depth), Image.Resampling.NEAREST)
    image.paste(above.transpose(Image.Transpose.FLIP_TOP_BOTTOM), (0, line), mask)
