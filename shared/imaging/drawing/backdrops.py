"""The backdrop of each style: a soft scene, and sharp parts painted over it at full size.

Called by the picture, before it paints the product.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

from shared.imaging.drawing.canvas import (
    FLAT,
    METAL,
    ROUND,
    Colour,
    Part,
    View,
    blend,
    from_hue,
    paint,
    shade,
)
from shared.imaging.drawing.outlines import (
    Outline,
    arch,
    cylinder,
    ellipse,
    rounded,
    smooth,
    stroke,
)
from shared.imaging.drawing.scene import BLACK, WHITE, Scene

_FAR = 400.0
"""Beyond every edge of every picture, in product units."""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """How one style looks.

    Attributes:
        paint_soft: Paints the soft layer.
        sharp: Parts painted over it at full size.
        contrast: Of the light on the product.
        reflection: Opacity of the product's mirror image in the floor; 0 means none.
    """

    paint_soft: Callable[[Scene], None]
    sharp: tuple[Part, ...] = ()
    contrast: float = 1.0
    reflection: float = 0.0


def paint_backdrop(
    size: tuple[int, int], view: View, scene: Scene, backdrop: Backdrop
) -> Image.Image:
    """Return the picture without its product."""
    backdrop.paint_soft(scene)
    image = scene.image.resize(size, Image.Resampling.BICUBIC)
    paint(image, view, backdrop.sharp, scene_palette(scene.hue))
    return image


def scene_palette(hue: float) -> Mapping[str, Colour]:
    """Return the colours that sharp parts of backdrops name."""
    return {
        "arch": from_hue(hue, 0.8, 0.42),
        "disc": from_hue(hue + 0.09, 0.86, 0.6),
        "plinth": from_hue(hue, 0.9, 0.3),
        "tray": from_hue(hue + 0.04, 0.93, 0.35),
        "stone": (168, 163, 155),
        "leaf": (104, 138, 100),
        "vein": (176, 198, 160),
        "gold": (214, 178, 112),
        "black": BLACK,
        "white": WHITE,
    }


def _studio_white(scene: Scene) -> None:
    tint = from_hue(scene.hue, 0.9, 0.25)
    wall, floor = blend((232, 234, 238), tint, 0.25), blend((240, 240, 242), tint, 0.12)
    scene.fill(_FAR, 16, (shade(wall, 0.93), wall, WHITE))
    scene.fill(16, -_FAR, (WHITE, floor, shade(floor, 0.88), shade(floor, 0.8)))
    scene.glow(ellipse(0, 60, 62, 52), WHITE, 0.85, 24)
    scene.cast_shadow(0.42)


def _lifestyle(scene: Scene) -> None:
    wall = from_hue(0.07 + 0.06 * scene.chances[0], 0.76, 0.36)
    wood = from_hue(0.07, 0.42, 0.36)
    scene.fill(_FAR, 8, (shade(wall, 0.72), wall, shade(wall, 1.2), wall))
    window_x = -86 + 30 * scene.chances[1]
    for left in (window_x, window_x + 32):
        scene.glow(rounded(left, 58, left + 27, 140, 1), (255, 248, 226), 0.95, 3)
    for x, y in ((58, 26), (68, 52), (52, 66), (76, 78), (62, 96), (84, 44)):
        scene.glow(ellipse(x + 6 * scene.chances[2], y, 7, 15), (86, 112, 78), 0.75, 3.5)
    scene.glow(rounded(54, 4, 82, 30, 3), (188, 116, 84), 0.95, 2)
    scene.fill(8, -_FAR, (shade(wood, 1.32), shade(wood, 1.1), wood, shade(wood, 0.75)))
    for index, y in enumerate((3, -4, -11, -20, -29, -40)):
        grain = shade(wood, 0.7 + 0.7 * scene.chances[index])
        middle = -90 + 120 * scene.chances[index + 1]
        scene.glow(ellipse(middle, y, 120, 1.3 + index * 0.35), grain, 0.55, 1.2)
    scene.glow(ellipse(-30, -10, 70, 9), (255, 236, 200), 0.38, 9)
    scene.cast_shadow(0.6, 1.5)


def _flat_lay(scene: Scene) -> None:
    cloth = from_hue(scene.hue, 0.8, 0.4)
    scene.fill(_FAR, -_FAR, (cloth, shade(cloth, 1.1), cloth, shade(cloth, 0.92)))
    scene.glow(ellipse(-70, 110, 90, 80), WHITE, 0.5, 35)
    scene.glow(ellipse(6, 44, 66, 66), BLACK, 0.34, 5)


def _outdoor(scene: Scene) -> None:
    sky = from_hue(0.56 + 0.04 * scene.chances[0], 0.62, 0.62)
    scene.fill(_FAR, 24, (shade(sky, 0.8), sky, shade(sky, 1.35), (255, 240, 214)))
    sun_x = -70 + 40 * scene.chances[1]
    scene.glow(ellipse(sun_x, 96, 30, 30), (255, 246, 214), 0.8, 14)
    scene.glow(ellipse(sun_x, 96, 10, 10), WHITE, 1, 3)
    for x, y, width in ((40, 104, 26), (58, 98, 34), (-22, 118, 24)):
        scene.glow(ellipse(x + 20 * scene.chances[2], y, width, 5), WHITE, 0.7, 5)
    ridge_y = 46 + 14 * scene.chances[3]
    for outline, colour in (
        (
            ((-190, 20), (-84, ridge_y + 12), (-30, 36), (44, ridge_y + 20), (190, 18)),
            (142, 164, 184),
        ),
        (((-190, 26), (-120, 44), (-40, 26), (10, 32), (90, 50), (190, 16)), (112, 146, 120)),
    ):
        scene.glow((*smooth(outline), (190, -20), (-190, -20)), colour, 1, 2)
    scene.fill(20, -_FAR, ((134, 164, 92), (110, 148, 76), (84, 122, 58), (58, 92, 44)))
    scene.glow(ellipse(10, -12, 92, 9), (40, 62, 32), 0.7, 4)


def _minimal(scene: Scene) -> None:
    wall, floor = from_hue(scene.hue, 0.87, 0.48), from_hue(scene.hue, 0.78, 0.38)
    scene.fill(_FAR, 2, (shade(wall, 0.95), wall, shade(wall, 1.2)))
    scene.fill(2, -_FAR, (floor, shade(floor, 1.12), shade(floor, 0.9)))
    scene.glow(ellipse(34, -13, 74, 7), BLACK, 0.4, 5)


def _dramatic(scene: Scene) -> None:
    dark = from_hue(scene.hue, 0.1, 0.35)
    light = from_hue(scene.hue, 0.5, 0.35)
    scene.fill(_FAR, 4, (shade(dark, 0.3), dark, shade(dark, 1.12)))
    scene.fill(4, -_FAR, (shade(dark, 1.1), shade(dark, 0.7), shade(dark, 0.2)))
    lamp_x = -60 + 30 * scene.chances[0]
    scene.glow(((lamp_x - 4, 170), (lamp_x + 6, 170), (64, 0), (-56, 0)), light, 0.42, 9)
    scene.glow(ellipse(-2, 52, 44, 46), light, 0.5, 20)
    scene.glow(ellipse(0, -3, 62, 9), shade(light, 1.3), 0.62, 6)
    scene.cast_shadow(0.75)


def _leaf(x: float, y: float, turn_degrees: float, length: float) -> tuple[Part, ...]:
    angle = math.radians(turn_degrees)
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))

    def place(*points: tuple[float, float]) -> Outline:
        return tuple(
            (
                x + length * (a * along[0] + b * across[0]),
                y + length * (a * along[1] + b * across[1]),
            )
            for a, b in points
        )

    blade = place((0, 0), (0.25, 0.17), (0.6, 0.19), (1, 0), (0.6, -0.19), (0.25, -0.17), (0, 0))
    shadow = tuple((px + 2, py - 2) for px, py in smooth(blade))
    return (
        Part(shadow, "black", FLAT, 0.16),
        Part(smooth(blade), "leaf", (0.85, 1.15, 0.95)),
        Part(stroke(place((-0.16, 0), (0.4, 0.015), (0.92, 0)), length * 0.025), "vein"),
    )


_FLAT_LAY_PROPS = (
    Part(ellipse(0, 48, 64, 64), "tray", (1.12, 1.02, 0.95)),
    Part(ellipse(0, 48, 59, 59), "tray", (0.94, 1.02, 1.16)),
    *_leaf(-80, 4, 62, 42),
    *_leaf(-80, 4, 18, 38),
    *_leaf(78, 92, 205, 36),
    *_leaf(78, 92, 160, 30),
    Part(ellipse(71, 1, 9.5, 8.6), "black", FLAT, 0.2),
    Part(ellipse(70, 2.4, 9, 8.2), "gold", METAL),
)

BACKDROPS: Mapping[str, Backdrop] = {
    "studio-white": Backdrop(_studio_white, reflection=0.2),
    "lifestyle": Backdrop(_lifestyle, contrast=1.1),
    "flat-lay": Backdrop(_flat_lay, _FLAT_LAY_PROPS, contrast=0.8),
    "outdoor": Backdrop(
        _outdoor,
        (
            Part(cylinder(64, -20, 7, 8), "stone", ROUND),
            Part(ellipse(0, -1, 64, 8), "stone", (1.5, 1.25, 1.05)),
        ),
        contrast=1.1,
    ),
    "minimal": Backdrop(
        _minimal,
        (
            Part(arch(54, 2, 120), "arch", (1.1, 1.0, 0.93)),
            Part(ellipse(50, 84, 24, 24), "disc", (1.1, 0.98)),
            Part(cylinder(52, -22, 6, 7), "plinth", ROUND),
            Part(ellipse(0, -1, 52, 7), "plinth", (1.5, 1.3, 1.1)),
        ),
        contrast=0.9,
    ),
    "dramatic": Backdrop(_dramatic, contrast=1.4, reflection=0.4),
}
