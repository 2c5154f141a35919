"""Outlines of the demo's objects: polygons (x right, y down, about -1..1), painted in order."""

import math
from dataclasses import dataclass

import numpy as np

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Part:
    """One polygon. `kind`: "body" (shared surfaces), "mark" (gives the class away), "thin" (dark)."""

    kind: str
    points: Points

    @property
    def area(self) -> float:
        """Area in object units."""
        x, y = np.asarray(self.points).T
        return 0.5 * abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()))

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the bounding box."""
        x, y = zip(*self.points, strict=True)
        return (min(x) + max(x)) / 2, (min(y) + max(y)) / 2


@dataclass(frozen=True)
class Shape:
    """A class: the pattern of its mark, the body material it has more often than others, its outline."""

    pattern: str
    material: str
    parts: tuple[Part, ...]

    @property
    def mark(self) -> Part:
        """The part that gives the class away."""
        return next(part for part in self.parts if part.kind == "mark")


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _disc(x: float, y: float, rx: float, ry: float | None = None) -> Points:
    angles = [2 * math.pi * k / 28 for k in range(28)]
    return tuple((x + rx * math.cos(a), y + (rx if ry is None else ry) * math.sin(a)) for a in angles)


def _body(*outlines: Points) -> tuple[Part, ...]:
    return tuple(Part("body", outline) for outline in outlines)


def _thin(*outlines: Points) -> tuple[Part, ...]:
    return tuple(Part("thin", outline) for outline in outlines)


def _mark(outline: Points) -> tuple[Part, ...]:
    return (Part("mark", outline),)


SHAPES = {
    "boat": Shape(
        "stripes",
        "planks",
        _thin(_box(-0.05, -1.0, 0.03, 0.2))
        + _body(
            ((-1, 0.15), (1, 0.15), (0.7, 0.7), (-0.7, 0.7)), ((-0.08, -0.85), (-0.08, 0.05), (-0.8, 0.05))
        )
        + _mark(((0.05, -0.9), (0.05, -0.08), (0.52, -0.08))),
    ),
    "bird": Shape(
        "eye",
        "plaster",
        _thin(_box(-0.2, 0.45, -0.13, 0.98), _box(0.12, 0.45, 0.19, 0.98), _box(-0.2, 0.92, 0.0, 0.98))
        + _body(_disc(0, 0.08, 0.82, 0.46), ((-0.6, -0.1), (-1.15, -0.3), (-1.1, 0.12), (-0.6, 0.3)))
        + _mark(_disc(0.72, -0.36, 0.27)),
    ),
    "house": Shape(
        "checker",
        "panels",
        _thin(_box(0.42, -0.95, 0.52, -0.5))
        + _body(_box(-0.75, -0.25, 0.75, 0.8), ((-0.9, -0.25), (0.9, -0.25), (0, -0.85)))
        + _mark(_box(-0.35, 0.2, 0.12, 0.8)),
    ),
    "train": Shape(
        "hazard",
        "panels",
        _thin(
            *(_disc(x, 0.45, 0.13) for x in (-0.8, -0.4, 0.4, 0.8)),
            ((-0.3, -0.35), (-0.1, -0.65), (0.0, -0.35)),
        )
        + _body(((-1.1, -0.3), (-1.0, -0.38), (0.95, -0.38), (1.12, -0.1), (1.12, 0.42), (-1.1, 0.42)))
        + _mark(((0.72, -0.3), (0.95, -0.3), (1.12, -0.06), (1.12, 0.42), (0.72, 0.42))),
    ),
    "tower": Shape(
        "rings",
        "plaster",
        _thin(_box(-0.04, -1.25, 0.04, -0.75))
        + _body(((-0.34, -0.7), (0.34, -0.7), (0.5, 1), (-0.5, 1)), _box(-0.42, -0.82, 0.42, -0.62))
        + _mark(_disc(0, -0.3, 0.25)),
    ),
    "cart": Shape(
        "spokes",
        "planks",
        _thin(((-0.7, 0.0), (-1.25, 0.28), (-1.25, 0.37), (-0.7, 0.09)), _box(-0.55, 0.2, -0.48, 0.68))
        + _body(((-0.85, -0.3), (0.85, -0.3), (0.7, 0.35), (-0.7, 0.35)), _disc(0, -0.3, 0.6, 0.38))
        + _mark(_disc(0.3, 0.42, 0.27)),
    ),
}
CLASSES = tuple(SHAPES)
