"""Procedural textures of desks, walls and floors, as they look from straight above."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from training.scenes.raster import Color, fractal_noise, hsv, random_color

Texture = Callable[[Generator, int, int], np.ndarray]


def tinted(value: np.ndarray, color: Color) -> np.ndarray:
    """`color` times 1 + `value`, as H x W x 3 float32."""
    return np.asarray(color, np.float32) * (1.0 + value[..., None])


def plain(rng: Generator, height: int, width: int) -> np.ndarray:
    """Paint or plastic: one colour, faintly uneven."""
    color = random_color(rng, (0.0, 0.45), (0.25, 1.0))
    uneven = fractal_noise(rng, height, width, width / 2) * rng.uniform(0.0, 0.08)
    return tinted(uneven + rng.normal(0, 0.01, (height, width)).astype(np.float32), color)


def wood(rng: Generator, height: int, width: int) -> np.ndarray:
    """Grain along x, with seams between boards on some."""
    color = hsv(rng.uniform(0.04, 0.11), rng.uniform(0.25, 0.7), rng.uniform(0.25, 0.9))
    warp = fractal_noise(rng, height, width, height / 3, 2, stretch=5) * rng.uniform(6, 25)
    y = np.arange(height, dtype=np.float32)[:, None] + warp
    rings = np.sin(y * (2 * np.pi / rng.uniform(height / 30, height / 6)))
    fibre = fractal_noise(rng, height, width, max(2.0, height / 120), 2, stretch=25)
    value = rng.uniform(0.03, 0.14) * rings + rng.uniform(0.05, 0.2) * fibre
    if rng.random() < 0.4:
        board = rng.uniform(height / 8, height / 3)
        rows = np.arange(height)
        tones = rng.uniform(-0.12, 0.12, int(height / board) + 2).astype(np.float32)
        value += tones[(rows / board).astype(int)][:, None]
        value[(rows % board) < max(1.0, height / 250)] -= 0.35
    return tinted(value, color)


def fabric(rng: Generator, height: int, width: int) -> np.ndarray:
    """Weave, stripes or checks."""
    color = random_color(rng, (0.0, 0.8), (0.15, 0.9))
    period = rng.uniform(3, 9)
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    value = 0.06 * np.sin(x * 2 * np.pi / period) * np.sin(y * 2 * np.pi / period)
    value = value + 0.06 * fractal_noise(rng, height, width, 6, 2)
    texture = tinted(value, color)
    if rng.random() < 0.5:
        stripe = np.asarray(random_color(rng), np.float32)
        pitch, share = rng.uniform(width / 20, width / 4), rng.uniform(0.1, 0.5)
        across = ((x % pitch) < pitch * share).astype(np.float32) * 0.7
        along = ((y % pitch) < pitch * share).astype(np.float32) * 0.7
        cover = across + 0 * y if rng.random() < 0.5 else np.maximum(across, along)
        texture += (stripe * (1 + value[..., None]) - texture) * cover[..., None]
    return texture


def marble(rng: Generator, height: int, width: int) -> np.ndarray:
    """Veins of a second tone in a first."""
    base = random_color(rng, (0.0, 0.2), (0.2, 0.98))
    field = fractal_noise(rng, height, width, width / 3, 4)
    veins = np.exp(-np.abs(field) * rng.uniform(10, 30)) * rng.uniform(-0.5, 0.3)
    return tinted(veins + 0.08 * fractal_noise(rng, height, width, width / 6, 3), base)


def speckled(rng: Generator, height: int, width: int) -> np.ndarray:
    """Carpet, terrazzo, concrete: grains on a ground."""
    color = random_color(rng, (0.0, 0.5), (0.2, 0.9))
    grain = fractal_noise(rng, height, width, rng.uniform(2, 10), 2)
    if rng.random() < 0.5:
        grain = np.where(grain > rng.uniform(0.2, 0.5), 1.0, 0.0).astype(np.float32)
    return tinted(grain * rng.uniform(-0.4, 0.4), color)


def tiles(rng: Generator, height: int, width: int) -> np.ndarray:
    """A grid of tiles with joints, each a little different."""
    color = random_color(rng, (0.0, 0.4), (0.4, 1.0))
    pitch = rng.uniform(width / 12, width / 3)
    aspect = rng.choice([1.0, 0.5, 2.0])
    x, y = np.arange(width)[None], np.arange(height)[:, None]
    column, row = (x / pitch).astype(int), (y / (pitch * aspect)).astype(int)
    tones = rng.uniform(-0.1, 0.1, (64, 64)).astype(np.float32)
    value = tones[row % 64, column % 64]
    joint = max(1.5, width / 200)
    lines = ((x % pitch) < joint) | ((y % (pitch * aspect)) < joint)
    value = np.where(lines, np.float32(rng.uniform(-0.4, 0.2)), value)
    return tinted(value + 0.03 * fractal_noise(rng, height, width, 5, 2), color)


def papers(rng: Generator, height: int, width: int) -> np.ndarray:
    """A mess of flat shapes in all colours: clutter without a name."""
    texture = plain(rng, height, width)
    for _ in range(rng.integers(4, 30)):
        center = rng.uniform(0, 1, 2) * (width, height)
        size = rng.uniform(0.05, 0.5, 2) * width
        box = cv2.boxPoints((tuple(center), tuple(size), rng.uniform(0, 180)))
        color = random_color(rng)
        if rng.random() < 0.75:
            cv2.fillPoly(texture, [box.astype(np.int32)], color, cv2.LINE_AA)
        else:
            axes = (int(size[0] / 2), int(size[1] / 2))
            cv2.ellipse(texture, center.astype(int).tolist(), axes, 0, 0, 360, color, -1)
    return texture


TRAINING: list[Texture] = [plain, wood, fabric, speckled, tiles, papers]
HELD_OUT: list[Texture] = [plain, wood, marble]
