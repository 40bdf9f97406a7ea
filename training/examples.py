"""Render the scenes in `examples/`, and `labels.json` with the boxes of their phones.

What lies where is laid out by hand; looks come from each scene's seed. Seeds, backgrounds and
layouts are none that the training saw.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from training.scenes import backgrounds, lookalikes, phones, textures
from training.scenes.backgrounds import Sources
from training.scenes.compose import Stage
from training.scenes.geometry import Pose
from training.scenes.hands import hand
from training.scenes.lookalikes import Maker
from training.scenes.painter import Painter
from training.scenes.photos import EXAMPLES as PHOTOS
from training.scenes.raster import fractal_noise, ramp

WIDTH, HEIGHT = 1280, 960
MAX_BYTES = 300_000
PHONES: set[Maker] = {phones.modern_front, phones.button_front, phones.back, phones.phone}


@dataclass(frozen=True)
class Item:
    """A thing on a table: x and y as shares of the picture, `spin` in degrees."""

    maker: Maker
    x: float
    y: float
    spin: float = 0.0


@dataclass(frozen=True)
class Example:
    """A table top with things on it, the camera `tilt` degrees from straight above.

    `scale` is in pixels per millimetre in the middle of the picture.
    """

    name: str
    seed: int
    texture: textures.Texture
    scale: float
    tilt: float
    items: list[Item]
    held: list[Item] = field(default_factory=list)


EXAMPLES = [
    Example(
        "desk",
        18,
        textures.wood,
        2.2,
        35,
        [
            Item(lookalikes.paper, 0.2, 0.42, -12),
            Item(lookalikes.keyboard, 0.62, 0.1, 4),
            Item(lookalikes.cup, 0.85, 0.45),
            Item(lookalikes.pen, 0.36, 0.6, 28),
            Item(phones.modern_front, 0.6, 0.66, 14),
        ],
    ),
    Example(
        "several",
        14,
        textures.marble,
        2.1,
        25,
        [
            Item(phones.back, 0.15, 0.3, -20),
            Item(phones.modern_front, 0.4, 0.28, 8),
            Item(phones.modern_front, 0.68, 0.3, 72),
            Item(phones.back, 0.3, 0.75, 110),
            Item(phones.button_front, 0.62, 0.74, -16),
            Item(lookalikes.cup, 0.87, 0.68),
        ],
    ),
    Example(
        "hand",
        18,
        textures.plain,
        2.0,
        40,
        [
            Item(lookalikes.book, 0.2, 0.3, -18),
            Item(lookalikes.cup, 0.83, 0.26),
        ],
        [Item(phones.modern_front, 0.52, 0.42, 10)],
    ),
    Example(
        "lookalikes",
        11,
        textures.plain,
        2.2,
        30,
        [
            Item(lookalikes.calculator, 0.16, 0.32, -8),
            Item(lookalikes.remote, 0.4, 0.4, 16),
            Item(lookalikes.wallet, 0.68, 0.24, -14),
            Item(lookalikes.card, 0.88, 0.5, 40),
            Item(lookalikes.card, 0.2, 0.8, -24),
            Item(phones.modern_front, 0.64, 0.7, -30),
        ],
    ),
    Example(
        "no-phone",
        14,
        textures.wood,
        2.1,
        30,
        [
            Item(lookalikes.book, 0.2, 0.36, 10),
            Item(lookalikes.calculator, 0.48, 0.32, -12),
            Item(lookalikes.remote, 0.76, 0.36, 30),
            Item(lookalikes.wallet, 0.34, 0.8, 8),
            Item(lookalikes.mouse, 0.62, 0.76, 20),
            Item(lookalikes.card, 0.86, 0.8, -16),
        ],
    ),
    Example(
        "exam",
        17,
        textures.wood,
        2.0,
        38,
        [
            Item(lookalikes.paper, 0.42, 0.4, -6),
            Item(phones.modern_front, 0.78, 0.58, 12),
            Item(lookalikes.paper, 0.93, 0.32, 20),
            Item(lookalikes.calculator, 0.16, 0.62, 10),
            Item(lookalikes.pen, 0.5, 0.7, 60),
        ],
    ),
]


def lay(stage: Stage, painter: Painter, example: Example, item: Item) -> None:
    """Put one thing on the table."""
    tilt = np.deg2rad(example.tilt)
    scale = example.scale * (1 + 0.6 * np.sin(tilt) * (item.y - 0.5))
    thing = stage.make(item.maker, scale)
    center = (item.x * stage.width, item.y * stage.height)
    pose = Pose(center, scale, np.deg2rad(item.spin), -tilt, 0.0, 1500)
    length = thing.thickness * scale
    painter.shadow(thing.face, pose, (0.5 * length, 0.4 * length), 0.35 * length + 2, 0.5)
    if item.maker in PHONES:
        painter.phone(thing, pose)
    else:
        painter.solid(thing, pose)


def hold(stage: Stage, painter: Painter, example: Example, item: Item) -> None:
    """Put one thing before the camera, in a hand."""
    scale = example.scale * 1.9
    thing = stage.make(item.maker, scale)
    center = (item.x * stage.width, item.y * stage.height)
    pose = Pose(center, scale, np.deg2rad(item.spin), 0.25, -0.3, 1100)
    grip = hand(stage.rng, *thing.size, scale)
    painter.hand_behind(grip, thing, pose)
    painter.phone(thing, pose)
    painter.hand_front(grip, thing, pose)


def light(rng: Generator) -> np.ndarray:
    """Daylight from one side, H x W x 3 factors."""
    slope = (ramp(HEIGHT, WIDTH, rng.uniform(0, 2 * np.pi)) - 0.5) * 0.35
    patches = fractal_noise(rng, HEIGHT, WIDTH, 500, 2) * 0.06
    tint = np.array([1.03, 1.0, 0.97], np.float32)
    return (1.12 + slope + patches)[..., None] * tint


def only(texture: textures.Texture) -> Sources:
    """Backgrounds of one texture."""
    return Sources([texture], PHOTOS)


def render(example: Example) -> tuple[np.ndarray, np.ndarray]:
    """The picture, H x W x 3 uint8, and the boxes of its phones, N x 4 xyxy pixels."""
    rng = np.random.default_rng([4, example.seed])
    stage = Stage(rng, only(example.texture), HEIGHT, WIDTH)
    surface = Pose((WIDTH / 2, HEIGHT / 2), example.scale, 0.3, -np.deg2rad(example.tilt), 0, 1500)
    background = backgrounds.tilted_surface(rng, stage.sources, surface, HEIGHT, WIDTH)
    painter = Painter(background, light(rng))
    steps: list[tuple[Callable[..., None], list[Item]]] = [
        (lay, example.items),
        (hold, example.held),
    ]
    for put, items in steps:
        for item in items:
            put(stage, painter, example, item)
    grain = rng.normal(0, 2.5, painter.image.shape)
    return np.clip(painter.image + grain, 0, 255).astype(np.uint8), painter.boxes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    listed = arguments.output / "labels.json"
    # The photographs there stay as they are.
    labels = json.loads(listed.read_text()) if listed.exists() else {}
    for example in EXAMPLES:
        image, boxes = render(example)
        setting = [cv2.IMWRITE_JPEG_QUALITY, 86]
        encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), setting)[1]
        if len(encoded) > MAX_BYTES:
            raise ValueError(f"{example.name}.jpg has {len(encoded)} bytes")
        (arguments.output / f"{example.name}.jpg").write_bytes(encoded.tobytes())
        labels[f"{example.name}.jpg"] = boxes.tolist()
    listed.write_text(json.dumps(labels, indent=2) + "\n")


if __name__ == "__main__":
    main()
