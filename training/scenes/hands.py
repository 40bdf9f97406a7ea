"""Hands that hold a flat thing: the part behind it and the part in front of it."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.scenes.raster import Canvas, Color, mix, random_color, shade

#: From the Monk and Fitzpatrick scales' range, light to dark.
SKIN: list[Color] = [
    (246, 214, 190),
    (236, 190, 160),
    (222, 168, 132),
    (196, 136, 100),
    (160, 104, 72),
    (118, 74, 52),
    (84, 54, 42),
]


@dataclass(frozen=True)
class Hand:
    """Three layers around a thing, drawn in its own millimetres.

    Each reaches `origin` mm beyond the thing on every side, and `arm` reaches `arm_origin`: it is
    drawn coarsely, since it is long and smooth. `arm`, then `behind` belong under the thing,
    `front` over it.
    """

    arm: Canvas
    behind: Canvas
    front: Canvas
    origin: float
    arm_origin: float


def limb(
    layer: Canvas,
    start: tuple[float, float],
    end: tuple[float, float],
    radii: tuple[float, float],
    color: Color,
    light: tuple[float, float],
) -> None:
    """A round, tapering limb from `start` to `end` (mm), shaded by `light` (x, y of its origin)."""
    k = layer.scale
    (x0, y0), (x1, y1) = start, end
    reach = max(radii) + 1.0
    rows, columns = layer.alpha.shape
    left, right = (min(x0, x1) - reach) * k, (max(x0, x1) + reach) * k
    top, bottom = (min(y0, y1) - reach) * k, (max(y0, y1) + reach) * k
    left, top = max(0, int(left)), max(0, int(top))
    right, bottom = min(columns, int(right) + 1), min(rows, int(bottom) + 1)
    if right <= left or bottom <= top:
        return
    px = ((np.arange(left, right, dtype=np.float32) + 0.5) / k - x0)[None, :]
    py = ((np.arange(top, bottom, dtype=np.float32) + 0.5) / k - y0)[:, None]
    dx, dy = x1 - x0, y1 - y0
    length = max(dx * dx + dy * dy, 1e-6)
    along = np.clip((px * dx + py * dy) / length, 0, 1)
    radius = radii[0] + (radii[1] - radii[0]) * along
    ox, oy = px - along * dx, py - along * dy
    distance = np.hypot(ox, oy)
    mask = np.clip((radius - distance) * k + 0.5, 0, 1)
    height = np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1))
    lambert = 0.72 + 0.2 * height + 0.22 * (ox * light[0] + oy * light[1]) / radius
    colors = np.asarray(color, np.float32) * lambert[..., None]
    # A little more red where the light grazes the skin: flesh is not paint.
    colors[..., 0] += (1 - height) * 10
    layer.paint(slice(top, bottom), slice(left, right), mask, colors)


def nail(layer: Canvas, tip: tuple[float, float], direction: float, size: float, skin: Color):
    """A finger nail near the tip of a finger that points along `direction` (radians)."""
    x = tip[0] - 0.1 * size * np.cos(direction)
    y = tip[1] - 0.1 * size * np.sin(direction)
    back = (x - 0.45 * size * np.cos(direction), y - 0.45 * size * np.sin(direction))
    limb(
        layer, back, (x, y), (0.5 * size, 0.46 * size), mix(skin, (255, 225, 220), 0.45), (0, -0.4)
    )


def finger(
    rng: Generator,
    layer: Canvas,
    points: list[tuple[float, float]],
    thickness: float,
    skin: Color,
    light: tuple[float, float],
    with_nail: bool = False,
) -> None:
    """A finger through `points` (mm), from its root to its tip."""
    for index in range(len(points) - 1):
        r0, r1 = thickness * (1 - 0.1 * index), thickness * (1 - 0.1 * (index + 1))
        limb(layer, points[index], points[index + 1], (r0, r1), skin, light)
    if with_nail:
        (x0, y0), tip = points[-2], points[-1]
        nail(layer, tip, np.arctan2(tip[1] - y0, tip[0] - x0), thickness * 1.1, skin)


def hand(rng: Generator, width: float, height: float, scale: float) -> Hand:
    """A hand that holds a thing of `width` x `height` mm, from below or from a side."""
    origin, arm_origin = 110.0, 900.0
    size = (width + 2 * origin, height + 2 * origin)
    behind, front = Canvas(*size, scale * 0.8), Canvas(*size, scale * 0.8)
    arm = Canvas(width + 2 * arm_origin, height + 2 * arm_origin, scale * 0.2)
    skin = shade(SKIN[rng.integers(len(SKIN))], rng.uniform(0.9, 1.08))
    sleeve = random_color(rng, (0.0, 0.8), (0.08, 0.95)) if rng.random() < 0.6 else None
    angle = rng.uniform(0, 2 * np.pi)
    light = (float(np.cos(angle)), float(np.sin(angle)))
    side = 1.0 if rng.random() < 0.5 else -1.0
    grip = rng.random()
    place = _Place(rng, arm, behind, front, origin, arm_origin, width, height, side, skin, light)
    if grip < 0.45:
        place.wrapped(sleeve)
    elif grip < 0.75:
        place.cradled(sleeve)
    else:
        place.pinched(sleeve)
    return Hand(arm, behind, front, origin, arm_origin)


@dataclass
class _Place:
    """One grip under construction; `side` is +1 for an arm that comes from the right."""

    rng: Generator
    forearm: Canvas
    behind: Canvas
    front: Canvas
    origin: float
    arm_origin: float
    width: float
    height: float
    side: float
    skin: Color
    light: tuple[float, float]

    def at(self, across: float, down: float) -> tuple[float, float]:
        """Millimetres from the thing's centre to the layers' own, mirrored for the left hand."""
        x = self.origin + self.width / 2 + self.side * across
        return x, self.origin + self.height / 2 + down

    def arm(self, start: tuple[float, float], direction: float, sleeve: Color | None) -> None:
        """A forearm from the wrist at `start` away along `direction` (0 is down, + outwards)."""
        length = self.arm_origin * 1.4
        dx, dy = np.sin(direction), np.cos(direction)
        wrist = self.rng.uniform(23, 28)
        shift = self.arm_origin - self.origin

        def on_arm(distance: float) -> tuple[float, float]:
            x, y = self.at(start[0] + distance * dx, start[1] + distance * dy)
            return x + shift, y + shift

        skin, light = self.skin, self.light
        limb(self.forearm, on_arm(-8), on_arm(length), (wrist, wrist * 2.4), skin, light)
        if sleeve:
            cuff = self.rng.uniform(20, 80)
            radii = (wrist * 1.3, wrist * 3.0)
            limb(self.forearm, on_arm(cuff), on_arm(length), radii, sleeve, light)

    def wrapped(self, sleeve: Color | None) -> None:
        """Palm behind, the thumb along one edge, finger tips around the other."""
        rng, half = self.rng, self.width / 2
        center = rng.uniform(-0.05, 0.35) * self.height
        palm_x = half * rng.uniform(0.35, 0.75)
        wrist = (palm_x + rng.uniform(5, 30), center + rng.uniform(65, 90))
        self.arm(wrist, rng.uniform(-0.3, 0.8), sleeve)
        limb(
            self.behind,
            self.at(wrist[0], wrist[1] - 5),
            self.at(palm_x, center),
            (27, rng.uniform(32, 40)),
            self.skin,
            self.light,
        )
        pitch = rng.uniform(16, 20)
        for index in range(4):
            y = center - 28 + index * pitch + rng.uniform(-2, 2)
            reach = rng.uniform(4, 17) * (1.0 if index < 3 else 0.7)
            thickness = rng.uniform(7.5, 9.5) * (1.0 if index < 3 else 0.85)
            root = self.at(-half - 4, y + rng.uniform(0, 6))
            # The finger comes from behind the edge: its outside shows beyond it.
            limb(
                self.behind, self.at(0, y + 6), root, (thickness, thickness), self.skin, self.light
            )
            tip = self.at(-half + reach, y)
            middle = self.at(-half - thickness * 0.35, y + 2)
            nails = rng.random() < 0.5
            finger(rng, self.front, [middle, tip], thickness, self.skin, self.light, nails)
        base = (half + rng.uniform(4, 12), center + rng.uniform(15, 40))
        knuckle = (half + rng.uniform(-4, 8), center - rng.uniform(5, 25))
        tip = (half - rng.uniform(-6, 28), knuckle[1] - rng.uniform(14, 30))
        limb(self.behind, self.at(*wrist), self.at(*base), (24, 15), self.skin, self.light)
        points = [self.at(*base), self.at(*knuckle), self.at(*tip)]
        finger(rng, self.front, points, rng.uniform(10, 12.5), self.skin, self.light, True)

    def cradled(self, sleeve: Color | None) -> None:
        """Held from below as for typing: fingers behind, the thumb over the lower part."""
        rng, half = self.rng, self.width / 2
        bottom = self.height / 2
        wrist = (rng.uniform(5, 45), bottom + rng.uniform(35, 60))
        self.arm(wrist, rng.uniform(-0.5, 0.7), sleeve)
        limb(self.behind, self.at(*wrist), self.at(8, bottom - 12), (28, 38), self.skin, self.light)
        for index in range(4):
            y = bottom - 68 + index * 17 + rng.uniform(-2, 2)
            end = self.at(-half - rng.uniform(3, 12), y - 4)
            limb(self.behind, self.at(10, y + 10), end, (9.5, 8), self.skin, self.light)
        base = (half + rng.uniform(-4, 10), bottom + rng.uniform(-8, 14))
        knuckle = (half - rng.uniform(-4, 16), bottom - rng.uniform(18, 40))
        tip = (knuckle[0] - rng.uniform(8, 32), knuckle[1] - rng.uniform(8, 28))
        limb(self.behind, self.at(*wrist), self.at(*base), (24, 14), self.skin, self.light)
        points = [self.at(*base), self.at(*knuckle), self.at(*tip)]
        finger(rng, self.front, points, rng.uniform(10, 12), self.skin, self.light, True)

    def pinched(self, sleeve: Color | None) -> None:
        """Held up at the lower end: fingers behind, the thumb or the fingers before it."""
        rng, bottom = self.rng, self.height / 2
        x = rng.uniform(-0.3, 0.4) * self.width
        wrist = (x + rng.uniform(-10, 40), bottom + rng.uniform(60, 85))
        self.arm(wrist, rng.uniform(-0.6, 0.8), sleeve)
        limb(self.behind, self.at(*wrist), self.at(x, bottom + 25), (27, 34), self.skin, self.light)
        reach = rng.uniform(20, 55)
        layer = self.front if rng.random() < 0.4 else self.behind
        for index in range(4):
            start = self.at(x - 24 + 15 * index, bottom + 26)
            end = self.at(x - 28 + 18 * index, bottom - reach + 7 * abs(index - 1.5))
            nails = layer is self.front
            finger(rng, layer, [start, end], rng.uniform(8, 9.5), self.skin, self.light, nails)
        if layer is self.behind:
            base, tip = (x + 22, bottom + 34), (x + rng.uniform(-12, 16), bottom - reach * 0.6)
            points = [self.at(*base), self.at(x + 16, bottom + 4), self.at(*tip)]
            limb(
                self.front,
                self.at(x + 6, bottom + 45),
                self.at(*base),
                (22, 13),
                self.skin,
                self.light,
            )
            finger(rng, self.front, points, rng.uniform(10, 12), self.skin, self.light, True)
