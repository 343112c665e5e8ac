"""Outlines of shapes as polygons, in product units: x to the right, y up from the floor.

Pure geometry, computed once when the products and backdrops are loaded.
"""

import math
from collections.abc import Sequence

Point = tuple[float, float]
Outline = tuple[Point, ...]

_CURVE_STEPS = 6


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Outline:
    """Return the ellipse around a centre."""
    return _arc(x, y, radius_x, radius_y, 0, 360)


def cylinder(half_width: float, bottom: float, top: float, depth: float) -> Outline:
    """Return an upright cylinder seen from a little above; `depth` is its ellipses' radius."""
    return tapered(half_width, half_width, bottom, top, depth)


def tapered(
    foot_half_width: float, top_half_width: float, bottom: float, top: float, depth: float
) -> Outline:
    """Return a cylinder that narrows or widens towards its top."""
    return (
        *_arc(0, bottom + depth, foot_half_width, depth, 180, 360),
        *_arc(0, top - depth, top_half_width, depth * top_half_width / foot_half_width, 0, 180),
    )


def arch(half_width: float, bottom: float, top: float) -> Outline:
    """Return a doorway with a half circle on top."""
    curve = _arc(0, top - half_width, half_width, half_width, 0, 180)
    return (half_width, bottom), *curve, (-half_width, bottom)


def band(half_width: float, bottom: float, top: float, depth: float, x: float = 0) -> Outline:
    """Return a strip around a cylinder: both its edges sag by `depth`."""
    return (
        *_arc(x, bottom + depth, half_width, depth, 180, 360),
        *reversed(_arc(x, top + depth, half_width, depth, 180, 360)),
    )


def rounded(left: float, bottom: float, right: float, top: float, radius: float) -> Outline:
    """Return a rectangle with round corners."""
    return (
        *_arc(left + radius, bottom + radius, radius, radius, 180, 270),
        *_arc(right - radius, bottom + radius, radius, radius, 270, 360),
        *_arc(right - radius, top - radius, radius, radius, 0, 90),
        *_arc(left + radius, top - radius, radius, radius, 90, 180),
    )


def turned(profile: Sequence[Point]) -> Outline:
    """Return the body of revolution whose right side runs smoothly through the profile."""
    right = smooth(profile)
    return (*right, *((-x, y) for x, y in reversed(right)))


def stroke(path: Sequence[Point], width: float) -> Outline:
    """Return a smooth line of the given width through the points of a path."""
    line = smooth(path)
    left, right = [], []
    for before, (x, y), after in zip(line[:1] + line, line, line[1:] + line[-1:], strict=False):
        run, rise = after[0] - before[0], after[1] - before[1]
        scale = width / 2 / (math.hypot(run, rise) or 1)
        left.append((x - rise * scale, y + run * scale))
        right.append((x + rise * scale, y - run * scale))
    return (*left, *reversed(right))


def smooth(points: Sequence[Point]) -> Outline:
    """Return a curve through the points that bends evenly (cubic Hermite)."""
    padded = (points[0], *points, points[-1])
    curve = [
        _between(padded[index : index + 4], step / _CURVE_STEPS)
        for index in range(len(points) - 1)
        for step in range(_CURVE_STEPS)
    ]
    return (*curve, points[-1])


def on_face(face: Outline, left: float, bottom: float, right: float, top: float) -> Outline:
    """Return a rectangle painted on a four-cornered face, whose own sides are 0 to 1.

    The face runs from its lower left corner to the lower right, upper right and upper left.
    """

    def place(across: float, up: float) -> Point:
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = face
        low = (ax + (bx - ax) * across, ay + (by - ay) * across)
        high = (dx + (cx - dx) * across, dy + (cy - dy) * across)
        return low[0] + (high[0] - low[0]) * up, low[1] + (high[1] - low[1]) * up

    return place(left, bottom), place(right, bottom), place(right, top), place(left, top)


def _arc(
    x: float, y: float, radius_x: float, radius_y: float, start_degrees: int, end_degrees: int
) -> Outline:
    steps = max(6, (end_degrees - start_degrees) // 8)
    span = math.radians(end_degrees - start_degrees) / steps
    angles = (math.radians(start_degrees) + span * step for step in range(steps + 1))
    return tuple((x + radius_x * math.cos(a), y + radius_y * math.sin(a)) for a in angles)


def _between(points: Sequence[Point], share: float) -> Point:
    """Return a point of the curve from the second to the third of four points.

    Tangents as long as the chord keep points at unequal distances from making loops.
    """
    first, second, third, fourth = points
    chord = math.dist(second, third)
    start, end = _heading(first, third, chord), _heading(second, fourth, chord)
    square, cube = share**2, share**3

    def axis(index: int) -> float:
        return (
            (2 * cube - 3 * square + 1) * second[index]
            + (cube - 2 * square + share) * start[index]
            + (3 * square - 2 * cube) * third[index]
            + (cube - square) * end[index]
        )

    return axis(0), axis(1)


def _heading(start: Point, end: Point, length: float) -> Point:
    scale = length / (math.dist(start, end) or 1)
    return (end[0] - start[0]) * scale, (end[1] - start[1]) * scale
