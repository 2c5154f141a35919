"""One scene of the demo: where objects stand, what hides them, and the exact picture and label map of it."""

import math
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from wsss.data import demo_paint as paint
from wsss.data.demo_shapes import CLASSES, SHAPES, Part, Shape

SUPER = 4  # label maps are decided by area on a grid this many times finer
THIN_PX = 2.2
LENGTHS = {1: (0.45, 0.9), 2: (0.38, 0.66), 3: (0.34, 0.54)}  # of the short side, by number of objects
SHIFT = 4  # fractional bits of cv2's polygon coordinates
TRIES = 40


@dataclass(frozen=True)
class Placed:
    """An object in the frame: class index, centre (x, y) and half length in px, turn in radians."""

    label: int
    centre: tuple[float, float]
    unit: float
    angle: float
    mirror: int
    squeeze: float

    @property
    def shape(self) -> Shape:
        """Outline of its class."""
        return SHAPES[CLASSES[self.label]]

    def to_px(self, points: np.ndarray) -> np.ndarray:
        """Object coordinates (N, 2) to px (N, 2)."""
        x, y = points[:, 0] * self.mirror * self.squeeze, points[:, 1]
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turned = np.stack([cos * x - sin * y, sin * x + cos * y], 1)
        return np.asarray(self.centre) + self.unit * turned

    def frame(
        self, size_hw: tuple[int, int], origin: tuple[float, float] = (0, 0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """(u, v) px from a point of the object, along its own axes, each (H, W)."""
        x0, y0 = self.to_px(np.asarray([origin]))[0]
        y, x = np.mgrid[: size_hw[0], : size_hw[1]] + 0.5
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.mirror * (cos * (x - x0) + sin * (y - y0)), -sin * (x - x0) + cos * (y - y0)


@dataclass(frozen=True)
class Scene:
    """A picture and what it shows.

    `image` (H, W, 3) uint8; `owner` (H, W) uint8: 0 background, 1.. object number, by the largest share of
    area; `mark` (H, W) bool: visible marks; `labels`: class index of each object.
    """

    image: np.ndarray
    owner: np.ndarray
    mark: np.ndarray
    labels: tuple[int, ...]

    @property
    def label_map(self) -> np.ndarray:
        """(H, W) uint8: 0 background, class index + 1."""
        return np.asarray([0, *(label + 1 for label in self.labels)], np.uint8)[self.owner]


def make_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw one scene with sides of 0.875 to 1.125 times `size` px; everything follows from `rng`."""
    height, width = rng.integers(round(0.875 * size), round(1.125 * size), 2, endpoint=True)
    size_hw = int(height), int(width)
    for attempt in range(TRIES):
        count = 1 if attempt > TRIES // 2 else int(rng.choice((1, 2, 3), p=(0.45, 0.35, 0.2)))
        objects = [_place(rng, size_hw, count) for _ in range(count)]
        occluders = _occluders(rng, size_hw)
        owner, mark = _rasterise(size_hw, objects, occluders)
        if _all_recognisable(owner, mark, objects):
            break
    image = _paint(rng, size_hw, objects, occluders)
    return Scene(image, _majority(owner, len(objects)), _area(mark) > 0.5, tuple(o.label for o in objects))


def _place(rng: np.random.Generator, size_hw: tuple[int, int], count: int) -> Placed:
    h, w = size_hw
    label = int(rng.integers(len(CLASSES)))
    unit = 0.5 * min(h, w) * rng.uniform(*LENGTHS[count])
    turn = 0.05 if CLASSES[label] == "train" else 0.15
    centre = (w * rng.uniform(0.2, 0.8), h * rng.uniform(0.28, 0.72))
    return Placed(
        label, centre, unit, rng.uniform(-turn, turn), int(rng.choice((-1, 1))), rng.uniform(0.85, 1.15)
    )


def _occluders(rng: np.random.Generator, size_hw: tuple[int, int]) -> list[tuple[str, np.ndarray]]:
    """At times a bush or a post in front of everything: background that hides parts, as px polygons."""
    h, w = size_hw
    found: list[tuple[str, np.ndarray]] = []
    if rng.random() < 0.35:
        angles, (x, y) = np.arange(20) * (math.pi / 10), (rng.uniform(0, w), rng.uniform(0.45 * h, h))
        radius = min(h, w) * rng.uniform(0.1, 0.2) * rng.uniform(0.75, 1.1, 20)
        found.append(("bush", np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)))
    if rng.random() < 0.25:
        x, lean, half = rng.uniform(0.1 * w, 0.9 * w), rng.uniform(-4, 4), rng.uniform(1.5, 3.0)
        found.append(
            ("post", np.asarray([(x - half, -2), (x + half, -2), (x + lean + half, h), (x + lean - half, h)]))
        )
    return found


def _fill(size_hw: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """Polygon in px as (SUPER*H, SUPER*W) bool; cells that its edge touches belong to it."""
    canvas = np.zeros((size_hw[0] * SUPER, size_hw[1] * SUPER), np.uint8)
    fixed = np.rint((points * SUPER - 0.5) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 1, shift=SHIFT)
    return canvas.astype(bool)


def _outline(placed: Placed, part: Part) -> np.ndarray:
    points = np.asarray(part.points, float)
    if part.kind == "thin":
        # a small object's masts and legs stay visible: widen about the middle to THIN_PX
        centre, extent = np.asarray(part.centre), np.ptp(points, axis=0)
        scale = np.maximum(1, THIN_PX / placed.unit / np.maximum(extent, 1e-6))
        points = centre + (points - centre) * scale
    return placed.to_px(points)


def _rasterise(
    size_hw: tuple[int, int], objects: list[Placed], occluders: list[tuple[str, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    owner = np.zeros((size_hw[0] * SUPER, size_hw[1] * SUPER), np.uint8)
    mark = np.zeros(owner.shape, bool)
    for number, placed in enumerate(objects, 1):
        for part in placed.shape.parts:
            inside = _fill(size_hw, _outline(placed, part))
            owner[inside], mark[inside] = number, part.kind == "mark"
    for _, points in occluders:
        inside = _fill(size_hw, points)
        owner[inside], mark[inside] = 0, False
    return owner, mark


def _all_recognisable(owner: np.ndarray, mark: np.ndarray, objects: list[Placed]) -> bool:
    """Each object shows most of its mark and about half of its body, wherever frame and neighbours cut it."""
    for number, placed in enumerate(objects, 1):
        px = (placed.unit * SUPER) ** 2 * placed.squeeze
        visible = owner == number
        bodies = sum(part.area for part in placed.shape.parts if part.kind == "body")
        if visible.sum() < 0.45 * bodies * px or (visible & mark).sum() < 0.65 * placed.shape.mark.area * px:
            return False
    return True


def _area(fine: np.ndarray) -> np.ndarray:
    """Share of each pixel that a bool map on the fine grid covers, (H, W) float64."""
    cells = fine.view(np.uint8)
    rows = reduce(np.add, (cells[k::SUPER] for k in range(SUPER)))
    return reduce(np.add, (rows[:, k::SUPER] for k in range(SUPER))) / SUPER**2


def _majority(owner: np.ndarray, count: int) -> np.ndarray:
    """Object number (0 background) with the largest share of each pixel; the lower number in a tie."""
    shares = np.stack([_area(owner == number) for number in range(count + 1)])
    return shares.argmax(0).astype(np.uint8)


def _paint(
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    objects: list[Placed],
    occluders: list[tuple[str, np.ndarray]],
) -> np.ndarray:
    canvas, means = _ground(rng, size_hw)
    for placed in objects:
        if CLASSES[placed.label] == "train":
            canvas = _rails(rng, canvas, placed)
    for placed in objects:
        canvas = _paint_object(rng, canvas, placed, means)
    for kind, points in occluders:
        surface = (
            paint.background(rng, size_hw, "foliage")
            if kind == "bush"
            else paint.plain(rng, size_hw, (70, 58, 48))
        )
        canvas = _over(canvas, surface, _fill(size_hw, points))
    canvas = paint.soften(canvas, rng.uniform(0.04, 0.16)) + 3 * rng.standard_normal(canvas.shape)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def _ground(rng: np.random.Generator, size_hw: tuple[int, int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Two background textures that meet in a wavy line, and their mean colours; classes play no part."""
    upper, lower = rng.choice(list(paint.BACKGROUNDS), 2, replace=False)
    line = size_hw[0] * rng.uniform(0.15, 0.7) + 6 * paint.noise(rng, (1, size_hw[1]), (1, 20))
    above = np.clip(line - np.arange(size_hw[0])[:, None] + 0.5, 0, 1)[..., None]
    surfaces = [paint.background(rng, size_hw, kind) for kind in (upper, lower)]
    return above * surfaces[0] + (1 - above) * surfaces[1], [surface.mean((0, 1)) for surface in surfaces]


def _over(canvas: np.ndarray, surface: np.ndarray, inside: np.ndarray) -> np.ndarray:
    alpha = _area(inside)[..., None]
    return canvas * (1 - alpha) + surface * alpha


def _rails(rng: np.random.Generator, canvas: np.ndarray, placed: Placed) -> np.ndarray:
    """Gravel, sleepers and two rails under a train, across the whole frame: seen with trains only."""
    u, v = placed.frame(canvas.shape[:2])
    v = v / placed.unit
    bed = paint.gravel(rng, canvas.shape[:2])
    sleepers = (v > 0.5) & (v < 0.92) & (u % 11 < 4.5)
    steel = ((v > 0.56) & (v < 0.63)) | ((v > 0.8) & (v < 0.88))
    bed = np.where(sleepers[..., None], np.asarray((78.0, 56.0, 44.0)), bed)
    bed = np.where(steel[..., None], np.asarray((196.0, 200.0, 208.0)), bed)
    alpha = np.clip((v - 0.42) * placed.unit, 0, 1) * np.clip((1.02 - v) * placed.unit, 0, 1)
    return canvas * (1 - alpha[..., None]) + bed * alpha[..., None]


def _paint_object(
    rng: np.random.Generator, canvas: np.ndarray, placed: Placed, means: list[np.ndarray]
) -> np.ndarray:
    size_hw = canvas.shape[:2]
    u, v = placed.frame(size_hw)
    colour = _body_colour(rng, means)
    material = placed.shape.material if rng.random() < 0.4 else str(rng.choice(paint.MATERIALS))
    for part in placed.shape.parts:
        if part.kind == "body":
            surface = paint.body(rng, u, v, colour, material)
        elif part.kind == "mark":
            surface = paint.mark(rng, *placed.frame(size_hw, part.centre), placed.unit, placed.shape.pattern)
        else:
            surface = paint.plain(rng, size_hw, paint.DARK)
        canvas = _over(canvas, surface, _fill(size_hw, _outline(placed, part)))
    return canvas


def _body_colour(rng: np.random.Generator, means: list[np.ndarray]) -> tuple[int, ...]:
    """Any of the shared body colours that stands out from both backgrounds."""
    far = [c for c in paint.BODY_COLOURS if min(np.abs(np.asarray(c) - mean).sum() for mean in means) > 90]
    pool = far or list(paint.BODY_COLOURS)
    return pool[int(rng.integers(len(pool)))]
