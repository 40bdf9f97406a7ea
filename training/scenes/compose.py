"""Whole scenes: what is in them, where it lies, and how it is photographed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.scenes import backgrounds, camera, lookalikes, people
from training.scenes.backgrounds import Sources
from training.scenes.geometry import Pose
from training.scenes.hands import hand
from training.scenes.lookalikes import Maker
from training.scenes.painter import Painter, UnclearSceneError
from training.scenes.phones import Solid, phone

#: Size of the pictures in pixels, whatever their shape.
AREA = 480.0 * 400.0
#: Width and height of the pictures, in units of their shorter side.
ASPECTS = [(1.0, 1.0), (4 / 3, 1.0), (16 / 9, 1.0), (1.0, 4 / 3), (1.0, 16 / 9)]
ASPECT_SHARES = [0.2, 0.3, 0.3, 0.1, 0.1]


@dataclass(frozen=True)
class Scene:
    """A picture, H x W x 3 uint8 RGB, and its phones, N x 4 float32 xyxy pixels."""

    image: np.ndarray
    boxes: np.ndarray


@dataclass
class Stage:
    """What the parts of one scene share."""

    rng: Generator
    sources: Sources
    height: int
    width: int
    #: How much lies around without a label, 1 being as much as in training.
    clutter: float = 1.0

    @property
    def side(self) -> int:
        """The shorter side in pixels."""
        return min(self.height, self.width)

    def spot(self, margin: float = 0.08) -> tuple[float, float]:
        """Anywhere in the picture, `margin` of it away from the edges."""
        x, y = self.rng.uniform(margin, 1 - margin, 2)
        return float(x * self.width), float(y * self.height)

    def things(self, makers: list[Maker], most: int) -> list[Maker]:
        """Up to `most` of `makers`: half as many on average at full clutter."""
        count = self.rng.binomial(most, 0.5 * self.clutter)
        return [makers[self.rng.integers(len(makers))] for _ in range(count)]

    def make(self, maker: Maker, scale: float) -> Solid:
        """A thing drawn finely enough to be shown at `scale` pixels per millimetre."""
        return maker(self.rng, float(np.clip(scale * 1.3, 1.2, 8.0)), self.sources.photos)

    def painter(self, background: np.ndarray) -> Painter:
        """A painter over `background`, under one light."""
        return Painter(background, camera.light_of_room(self.rng, self.height, self.width))


def phone_count(rng: Generator) -> int:
    """How many phones: mostly one, now and then none or several."""
    return int(rng.choice([0, 1, 2, 3, 4, 5], p=[0.15, 0.5, 0.2, 0.1, 0.03, 0.02]))


def desk(stage: Stage) -> Painter:
    """Things on a table or on the floor, seen from straight above to flat."""
    rng = stage.rng
    tilt = rng.uniform(0, 1.0) if rng.random() < 0.75 else rng.uniform(0, 0.15)
    # 155 mm is the length of a phone; its share of the picture is even on a logarithmic scale.
    base = stage.side * np.exp(rng.uniform(np.log(0.13), np.log(0.75))) / 155
    twist = rng.uniform(-0.25, 0.25)
    surface = Pose(
        (stage.width / 2, stage.height / 2), base, rng.uniform(0, 6.3), -tilt, twist, 1500
    )
    if tilt > 0.6 and rng.random() < 0.6:
        make_background = backgrounds.desk_and_wall
    else:
        make_background = backgrounds.tilted_surface
    painter = stage.painter(make_background(rng, stage.sources, surface, stage.height, stage.width))
    count = phone_count(rng)
    makers = stage.things(lookalikes.LARGE, 2)
    things: list[Maker] = [phone] * count + stage.things(lookalikes.SMALL, 6)
    order = rng.permutation(len(things))
    makers += [things[index] for index in order]
    taken: list[tuple[float, float, float]] = []
    light = rng.uniform(0, 2 * np.pi)
    for maker in makers:
        lay_down(stage, painter, maker, surface, light, taken)
    return painter


def lay_down(
    stage: Stage,
    painter: Painter,
    maker: Maker,
    surface: Pose,
    light: float,
    taken: list[tuple[float, float, float]],
) -> None:
    """Put one thing on the plane of `surface`, mostly where nothing lies yet."""
    rng = stage.rng
    for _ in range(12):
        x, y = stage.spot(0.02)
        # Nearer things, lower in the picture, are larger.
        depth = 1 + 0.55 * np.sin(-surface.pitch) * (y / stage.height - 0.5)
        scale = surface.scale * depth
        reach = 75 * scale
        near = any(np.hypot(x - a, y - b) < 0.8 * (reach + r) for a, b, r in taken)
        if not near or rng.random() < 0.12:
            break
    else:
        return
    thing = stage.make(maker, scale)
    spin = rng.uniform(0, 2 * np.pi)
    pose = Pose((x, y), scale, spin, surface.pitch, surface.yaw, 1200)
    length = thing.thickness * scale
    shift = (float(np.cos(light) * length * 0.7), float(np.sin(light) * length * 0.7))
    painter.shadow(thing.face, pose, shift, 0.5 * length + 0.5, rng.uniform(0.3, 0.75))
    if maker is phone:
        painter.phone(thing, pose)
    else:
        painter.solid(thing, pose)
    if maker not in (lookalikes.paper,):
        taken.append((x, y, max(thing.size) / 2 * scale))


def room(stage: Stage) -> Painter:
    """An upright view: a wall, perhaps people, things held or standing."""
    rng = stage.rng
    surface = Pose((stage.width / 2, stage.height / 2), stage.side / 500, 0.0, -1.1, 0.0, 1500)
    if rng.random() < 0.65:
        background = backgrounds.wall(rng, stage.sources, stage.height, stage.width)
    else:
        background = backgrounds.desk_and_wall(
            rng, stage.sources, surface, stage.height, stage.width
        )
    painter = stage.painter(background)
    for maker in stage.things(lookalikes.LARGE, 2):
        stand(stage, painter, maker, stage.side * rng.uniform(0.15, 0.6), False)
    if rng.random() < 0.55:
        for _ in range(rng.integers(1, 4)):
            add_person(stage, painter)
    for _ in range(min(3, phone_count(rng))):
        size = stage.side * np.exp(rng.uniform(np.log(0.13), np.log(0.85)))
        stand(stage, painter, phone, size, rng.random() < 0.72)
    for maker in stage.things(lookalikes.HELD, 1):
        size = stage.side * np.exp(rng.uniform(np.log(0.1), np.log(0.6)))
        stand(stage, painter, maker, size, rng.random() < 0.75)
    return painter


def photographed(stage: Stage) -> Painter:
    """Phones, mostly held, before a photograph of something else."""
    rng = stage.rng
    photo = stage.sources.photos[rng.integers(len(stage.sources.photos))]
    painter = stage.painter(backgrounds.crop_photo(rng, photo, stage.height, stage.width))
    if rng.random() < 0.35:
        size = stage.side * np.exp(rng.uniform(np.log(0.1), np.log(0.6)))
        maker = lookalikes.HELD[rng.integers(len(lookalikes.HELD))]
        stand(stage, painter, maker, size, rng.random() < 0.75)
    for _ in range(rng.integers(1, 4)):
        size = stage.side * np.exp(rng.uniform(np.log(0.06), np.log(1.1)))
        stand(stage, painter, phone, size, rng.random() < 0.7)
    return painter


def add_person(stage: Stage, painter: Painter) -> None:
    """Somebody, head and shoulders, somewhere along the lower edge."""
    rng = stage.rng
    scale = stage.side * rng.uniform(0.3, 1.0) / 620
    figure = people.person(rng, min(1.6, max(0.4, scale * 1.3)))
    x = rng.uniform(0.05, 0.95) * stage.width
    y = stage.height - 310 * scale + rng.uniform(0, 200) * scale
    painter.canvas(figure, Pose((x, y), scale, rng.normal(0, 0.08), distance=4000))


def stand(stage: Stage, painter: Painter, maker: Maker, size: float, held: bool) -> None:
    """Put one thing upright, about `size` pixels long, at any angle, in a hand where `held`."""
    rng = stage.rng
    thing = stage.make(maker, size / 155)
    longest = max(thing.size)
    scale = size / longest
    spin = rng.normal(0, 0.45)
    if rng.random() < 0.3:
        spin += rng.choice([-1, 1]) * np.pi / 2
    elif rng.random() < 0.1:
        spin = rng.uniform(0, 2 * np.pi)
    steep = 1.4 if rng.random() < 0.06 else (0.75 if held else 1.05)
    yaw, pitch = rng.uniform(-1, 1, 2) * (steep, steep * 0.7)
    distance = longest * rng.uniform(4.5, 12)
    pose = Pose(stage.spot(0.1), scale, spin, pitch, yaw, distance)
    if not held:
        painter.shadow(thing.face, pose, (0, size / 50), size / 40, rng.uniform(0, 0.5))
        (painter.phone if maker is phone else painter.solid)(thing, pose)
        return
    grip = hand(rng, *thing.size, float(np.clip(scale * 1.3, 0.8, 5.0)))
    painter.hand_behind(grip, thing, pose)
    (painter.phone if maker is phone else painter.solid)(thing, pose)
    painter.hand_front(grip, thing, pose)


LAYOUTS: list[Callable[[Stage], Painter]] = [desk, room]


def compose(
    rng: Generator,
    sources: Sources,
    clutter: float = 1.0,
    layouts: list[Callable[[Stage], Painter]] = LAYOUTS,
) -> Scene:
    """One scene of about `AREA` pixels; tries again until all its phones are clear cases."""
    while True:
        wide, high = ASPECTS[rng.choice(len(ASPECTS), p=ASPECT_SHARES)]
        unit = np.sqrt(AREA / (wide * high))
        stage = Stage(rng, sources, round(high * unit), round(wide * unit), clutter)
        try:
            painter = layouts[rng.integers(len(layouts))](stage)
            boxes = painter.boxes()
        except UnclearSceneError:
            continue
        return Scene(camera.photograph(rng, painter.image, (45, 96)), boxes)
