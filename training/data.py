"""Training samples: scenes and photographs, cropped, flipped, recoloured and put together."""

import itertools
import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from training.cutouts import paste
from training.images import read_rgb
from training.photographs import Sample

#: A phone keeps its label in a crop when at least this share of its box is left.
MIN_BOX_LEFT = 0.35
#: A window that leaves less of a phone, but some, is drawn again, so many times.
CLEAR_BOX_LEFT, MAX_TRIES = 0.45, 6
#: Windows are so large as a share of the image, in all and without mosaics.
ZOOM, CALM_ZOOM = (0.35, 1.6), (0.6, 1.25)


#: A cut-out phone is pasted onto so many photographs that show none, or one already.
PASTE_SHARES = {False: 0.45, True: 0.15}


@dataclass(frozen=True)
class Source:
    """Moments (each a list of near-duplicates) that make up `share` of what is drawn."""

    share: float
    moments: list[list[Sample]]
    #: Phones to paste onto them.
    cutouts: list[list[np.ndarray]] = field(default_factory=list)


def read_scenes(folder: Path) -> list[Sample]:
    """The scenes that `training.render` wrote to `folder`."""
    boxes = json.loads((folder / "boxes.json").read_text())
    return [
        Sample(folder / name, np.array(found, np.float32).reshape(-1, 4))
        for name, found in sorted(boxes.items())
    ]


def crop(
    rng: Generator, image: np.ndarray, boxes: np.ndarray, size: int, zooms: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """A random window of the image, stretched to size x size; may reach beyond the image."""
    height, width = image.shape[:2]
    zoom = np.exp(rng.uniform(*np.log(zooms)))
    stretch = np.exp(rng.uniform(-0.25, 0.25))
    window_w, window_h = width * zoom * stretch, height * zoom / stretch
    for _ in range(MAX_TRIES):
        left = rng.uniform(min(0, width - window_w), max(0, width - window_w))
        top = rng.uniform(min(0, height - window_h), max(0, height - window_h))
        shares = shares_left(boxes, np.array([left, top, left + window_w, top + window_h]))
        if not ((shares > 0.02) & (shares < CLEAR_BOX_LEFT)).any():
            break
    scale_x, scale_y = size / window_w, size / window_h
    matrix = np.array([[scale_x, 0, -left * scale_x], [0, scale_y, -top * scale_y]])
    border = cv2.BORDER_REFLECT_101 if not len(boxes) else cv2.BORDER_CONSTANT
    fill = rng.integers(0, 256, 3).tolist()
    if min(scale_x, scale_y) < 0.6:
        image = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / (width // 2), height / (height // 2), 1])
    cropped = cv2.warpAffine(image, matrix, (size, size), borderMode=border, borderValue=fill)
    moved = (boxes - (left, top, left, top)) * (scale_x, scale_y, scale_x, scale_y)
    return cropped, keep_inside(moved, size)


def shares_left(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """How much of each box lies in `window` (xyxy), as a share of its area."""
    inside = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    return inside.clip(0).prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def keep_inside(boxes: np.ndarray, size: int) -> np.ndarray:
    """Boxes cut at the edges of size x size, without those that lost too much."""
    clipped = boxes.clip(0, size)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = (clipped[:, 2] - clipped[:, 0]) * (clipped[:, 3] - clipped[:, 1])
    longest = np.maximum(clipped[:, 2] - clipped[:, 0], clipped[:, 3] - clipped[:, 1])
    return clipped[(left > MIN_BOX_LEFT * area) & (longest >= 7)].astype(np.float32)


def flip(rng: Generator, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mirrored, and now and then turned, a square image: a phone has no upright."""
    size = image.shape[0]
    if rng.random() < 0.5:
        image, boxes = (
            image[:, ::-1],
            np.stack([size - boxes[:, 2], boxes[:, 1], size - boxes[:, 0], boxes[:, 3]], axis=1),
        )
    if rng.random() < 0.15:
        image, boxes = image.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return image, boxes


def recolor(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Other exposure, contrast and tint; now and then blurred, grey or noisy."""
    if rng.random() < 0.1:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
    result = image.astype(np.float32)
    if rng.random() < 0.08:
        result[:] = result.mean(axis=2, keepdims=True)
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.05, 3))
    result = (result - 128) * np.float32(np.exp(rng.normal(0, 0.12))) + 128
    result = result * gain.astype(np.float32) + np.float32(rng.normal(0, 8))
    if rng.random() < 0.2:
        result += rng.normal(0, rng.uniform(1, 8), result.shape).astype(np.float32)
    return np.clip(result, 0, 255)


#: Decoding an image again for each sample would cost a tenth of the training's time.
read_once = lru_cache(maxsize=4000)(read_rgb)


class Sampler:
    """Draws training samples, `mosaic_share` of them put together of four or nine.

    Mosaics show more, and smaller, things at once. Without them the windows are calmer, too.
    """

    def __init__(self, sources: list[Source], mosaic_share: float) -> None:
        self.sources = [source for source in sources if source.moments]
        shares = np.array([source.share for source in self.sources])
        self.shares = shares / shares.sum()
        self.mosaic_share = mosaic_share
        self.zooms = ZOOM if mosaic_share else CALM_ZOOM

    def single(self, rng: Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """One augmented image, size x size x 3 uint8, and its boxes."""
        source = self.sources[rng.choice(len(self.sources), p=self.shares)]
        moment = source.moments[rng.integers(len(source.moments))]
        sample = moment[rng.integers(len(moment))]
        image, boxes = read_once(sample.path), sample.boxes
        while source.cutouts and rng.random() < PASTE_SHARES[len(boxes) > 0]:
            # From each series as often, however many of its phones could be cut out.
            cutouts = source.cutouts[rng.integers(len(source.cutouts))]
            image, boxes = paste(rng, image, boxes, cutouts)
        image, boxes = crop(rng, image, boxes, size, self.zooms)
        return flip(rng, image, boxes)

    def draw(self, rng: Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """One sample: size x size x 3 float32, 0..255, and its boxes."""
        if rng.random() >= self.mosaic_share:
            image, boxes = self.single(rng, size)
            return recolor(rng, image), boxes
        image, found = np.zeros((size, size, 3), np.uint8), []
        edges = np.linspace(0, size, 3 if rng.random() < 0.75 else 4).astype(int)
        for top, bottom in itertools.pairwise(edges):
            for left, right in itertools.pairwise(edges):
                part, boxes = self.single(rng, max(bottom - top, right - left))
                image[top:bottom, left:right] = part[: bottom - top, : right - left]
                found.append(boxes + np.array([left, top, left, top], np.float32))
        return recolor(rng, image), np.concatenate(found)


def batches(
    sampler: Sampler, seed: list[int], rank: int, batch_size: int, sizes: list[int]
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Endless batches, N x 3 x size x size float32 and boxes, made ahead by one thread.

    Processes (`rank`) draw other samples, but of the same one of `sizes`, or they would wait for
    each other.
    """
    ready: queue.Queue = queue.Queue(maxsize=4)

    def produce() -> None:
        rng, common = np.random.default_rng([*seed, rank]), np.random.default_rng(seed)
        while True:
            size = int(common.choice(sizes))
            drawn = [sampler.draw(rng, size) for _ in range(batch_size)]
            images = np.stack([image for image, _ in drawn]).transpose(0, 3, 1, 2)
            ready.put((images, [boxes for _, boxes in drawn]))

    threading.Thread(target=produce, daemon=True).start()
    while True:
        yield ready.get()
