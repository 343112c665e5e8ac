"""The products that the mock provider can draw, as parts in product units, 100 units tall.

`choose_product` picks the one that the prompt names, or else one that follows from its hash.
"""

import re
from dataclasses import dataclass

from shared.imaging.drawing.canvas import FLAT, GLOSSY, METAL, ROUND, Part
from shared.imaging.drawing.outlines import (
    band,
    cylinder,
    ellipse,
    on_face,
    rounded,
    smooth,
    stroke,
    tapered,
    turned,
)


@dataclass(frozen=True, slots=True)
class Product:
    """A product to draw.

    Attributes:
        words: Beginnings of words in a prompt that mean this product.
        half_width: Of its foot, for the shadow.
    """

    words: tuple[str, ...]
    half_width: float
    parts: tuple[Part, ...]


_BOTTLE = Product(
    words=("bottle", "perfume", "serum", "shampoo", "lotion", "wine", "oil", "drink"),
    half_width=18,
    parts=(
        Part(
            turned(
                (
                    *((0, -3.2), (9, -2.7), (15.5, -1), (18, 2.5), (18, 54)),
                    *((16.5, 61), (11, 67), (7.5, 72), (6.5, 78), (6.5, 85)),
                )
            ),
            "body",
            GLOSSY,
        ),
        Part(cylinder(7.4, 78, 84, 1.4), "metal", METAL),
        Part(cylinder(8.6, 82, 103, 1.8), "accent", ROUND),
        Part(ellipse(0, 101.2, 8.6, 1.8), "accent", (1.3, 1.15)),
        Part(band(18, 12, 46, 2.6), "cream", ROUND),
        Part(ellipse(0, 34.5, 5.4, 5.4), "accent"),
        Part(ellipse(0, 34.5, 3, 3), "cream"),
        Part(band(10, 21.2, 23, 0.9), "ink", FLAT, 0.75),
        Part(band(7, 17, 18.2, 0.6), "ink", FLAT, 0.45),
        Part(smooth(((-13, 49), (-12.6, 58), (-9.2, 65), (-9, 60), (-10, 49))), "white", FLAT, 0.4),
    ),
)

_JAR = Product(
    words=("jar", "cream", "candle", "honey", "jam", "spice", "cosmetic"),
    half_width=34,
    parts=(
        Part(
            turned(
                ((0, -5), (18, -4.2), (31, -1), (34, 5), (34, 30), (34, 50), (32, 58), (28, 63))
            ),
            "body",
            GLOSSY,
        ),
        Part(band(34, 9, 44, 4.4), "cream", ROUND),
        Part(rounded(-11, 24, 11, 32, 4), "accent"),
        Part(band(13, 16.4, 18.4, 1.2), "ink", FLAT, 0.7),
        Part(band(8, 12, 13.4, 0.8), "ink", FLAT, 0.4),
        Part(cylinder(33, 55, 79, 5), "lid", METAL),
        Part(ellipse(0, 74, 33, 5), "lid", (1.5, 1.25, 1.1)),
        Part(ellipse(0, 74, 28, 4), "lid", (1.3, 1.15, 1.05)),
        Part(band(33, 58.5, 59.3, 5), "ink", FLAT, 0.25),
    ),
)

_FRONT = ((-35.0, 2.0), (9.0, -5.0), (9.0, 67.0), (-35.0, 71.0))
_SIDE = ((9.0, -5.0), (35.0, 5.0), (35.0, 73.0), (9.0, 67.0))
_TOP = ((-35.0, 71.0), (9.0, 67.0), (35.0, 73.0), (-6.0, 77.0))

_BOX = Product(
    words=("box", "pack", "tea", "coffee beans", "chocolate", "soap", "gift", "book"),
    half_width=36,
    parts=(
        Part(_FRONT, "body", (1.14, 1.06, 0.98)),
        Part(_SIDE, "body", (0.62, 0.7)),
        Part(_TOP, "body", (1.42, 1.28)),
        Part(on_face(_FRONT, 0.14, 0.2, 0.86, 0.76), "cream"),
        Part(on_face(_FRONT, 0.14, 0.62, 0.86, 0.76), "accent"),
        Part(on_face(_FRONT, 0.24, 0.48, 0.76, 0.53), "ink", FLAT, 0.8),
        Part(on_face(_FRONT, 0.24, 0.4, 0.62, 0.43), "ink", FLAT, 0.45),
        Part(on_face(_FRONT, 0.24, 0.33, 0.68, 0.36), "ink", FLAT, 0.45),
        Part(on_face(_FRONT, 0.24, 0.26, 0.5, 0.29), "ink", FLAT, 0.45),
        Part(on_face(_SIDE, 0, 0.62, 1, 0.76), "accent", (0.62, 0.7)),
        Part(on_face(_TOP, 0.42, 0, 0.6, 1), "accent", (1.35, 1.2)),
        Part(on_face(_FRONT, 0.985, 0, 1, 1), "white", FLAT, 0.35),
    ),
)

_MUG = Product(
    words=("mug", "cup", "coffee", "espresso", "ceramic", "pot"),
    half_width=29,
    parts=(
        Part(
            stroke(((22, 58), (36, 60), (46, 52), (46, 36), (38, 22), (22, 17)), 7),
            "body",
            (0.7, 0.95, 1.2, 0.8),
        ),
        Part(stroke(((24, 59.5), (36, 61.5), (44, 57)), 1.6), "white", FLAT, 0.45),
        Part(
            turned(((0, -5), (16, -4.4), (24, -2), (26.5, 3), (28.5, 30), (29.5, 55), (30, 72))),
            "body",
            ROUND,
        ),
        Part(band(28.6, 17, 27, 5), "accent", ROUND),
        Part(band(28.9, 29, 31, 5), "accent", ROUND),
        Part(ellipse(0, 72, 30, 6), "body", (1.2, 1.55, 1.3)),
        Part(ellipse(0, 71.6, 27.6, 5), "body", (0.5, 0.75, 0.95)),
        Part(ellipse(0, 69.9, 25, 3.5), "coffee", (1.25, 1.05, 0.85)),
        Part(
            smooth(((-20, 8), (-21.6, 36), (-21, 60), (-17.5, 60), (-17, 36))), "white", FLAT, 0.3
        ),
    ),
)

_LAMP = Product(
    words=("lamp", "light", "lantern"),
    half_width=20,
    parts=(
        Part(cylinder(20, -4.5, 6.5, 4.2), "metal", METAL),
        Part(ellipse(0, 2.2, 20, 4.2), "metal", (1.35, 1.1, 0.9)),
        Part(rounded(-1.8, 2, 1.8, 66, 1.2), "metal", METAL),
        Part(turned(((0, 4), (7, 4.5), (4, 9), (1.8, 14))), "metal", METAL),
        Part(ellipse(0, 56, 33, 5.2), "glow", (0.82, 1.5, 0.82)),
        Part(
            tapered(33, 18, 50.8, 103, 5.2),
            "body",
            (0.72, 1.0, 1.22, 1.42, 1.3, 1.08, 0.9, 0.68),
        ),
        Part(ellipse(0, 100.4, 18, 2.6), "glow", (0.95, 1.4, 0.95)),
        Part(stroke(((33, 56), (22, 52.6), (0, 50.8), (-22, 52.6), (-33, 56)), 1.3), "accent"),
    ),
)

_SNEAKER = Product(
    words=("sneaker", "shoe", "trainer", "boot", "runner"),
    half_width=50,
    parts=(
        Part(ellipse(-27, 47, 16, 5), "ink"),
        Part(
            smooth(
                (
                    *((-46, 6), (-49, 22), (-46, 40), (-45, 52), (-40, 54), (-34, 47), (-24, 44)),
                    *((-14, 50), (-8, 62), (-2, 61), (8, 47), (20, 35), (36, 29), (48, 21)),
                    *((51, 10), (46, 5), (0, 4), (-46, 6)),
                )
            ),
            "body",
            (1.3, 1.14, 1.0, 0.84, 0.66),
            is_lit_from_above=True,
        ),
        Part(
            smooth(
                ((27, 32), (36, 29), (48, 21), (51.5, 10), (47, 5), (28, 5), (24, 18), (27, 32))
            ),
            "cream",
            (1.3, 1.0, 0.84),
            is_lit_from_above=True,
        ),
        Part(
            smooth(((-46, 6), (-49, 22), (-46, 40), (-36, 32), (-31, 18), (-30, 5), (-46, 6))),
            "accent",
            (1.1, 0.95, 0.8),
            is_lit_from_above=True,
        ),
        Part(
            smooth(((-24, 9), (-8, 13), (10, 25), (22, 35), (14, 21), (-2, 9), (-24, 9))),
            "accent",
            (1.15, 0.95),
            is_lit_from_above=True,
        ),
        *(
            Part(stroke(((x, y), (x - 6, y - 4), (x - 12, y - 11)), 2.4), "cream", (1.2, 0.9))
            for x, y in ((-1, 58), (6, 50), (13, 43), (20, 37))
        ),
        Part(
            smooth(
                (
                    *((-49, 8), (-30, 6.5), (0, 5.5), (30, 6), (52, 11), (55, 6), (50, -2)),
                    *((20, -4), (-20, -4), (-46, -3), (-51, 2), (-49, 8)),
                )
            ),
            "cream",
            (1.5, 1.1, 0.72),
            is_lit_from_above=True,
        ),
        Part(stroke(((-49, 0.5), (-20, -0.4), (20, -0.4), (53, 3)), 1.1), "accent"),
    ),
)

PRODUCTS = (_BOTTLE, _JAR, _BOX, _MUG, _LAMP, _SNEAKER)


def choose_product(prompt: str, number: int) -> Product:
    """Return the product that the prompt names first, or else the one that the number picks."""
    found: list[tuple[int, int]] = []
    for index, product in enumerate(PRODUCTS):
        named = re.search(rf"\b(?:{'|'.join(product.words)})", prompt, re.IGNORECASE)
        if named:
            found.append((named.start(), index))
    return PRODUCTS[min(found)[1] if found else number % len(PRODUCTS)]
