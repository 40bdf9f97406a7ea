"""Training samples: scenes and photographs, cropped, flipped, recoloured and put together."""

import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from training.images import read_rgb
from training.necem import image_paths, phone_boxes, without_near_duplicates

#: A phone keeps its label in a crop when at least this share of its box is left.
MIN_BOX_LEFT = 0.35
#: Mosaics show more, and smaller, things at once.
MOSAIC_SHARE = 0.12


@dataclass(frozen=True)
class Sample:
    """An image file and its phones, N x 4 float32, xyxy pixels of the file's image."""

    path: Path
    boxes: np.ndarray


def read_scenes(folder: Path) -> list[Sample]:
    """The scenes that `training.render` wrote to `folder`."""
    boxes = json.loads((folder / "boxes.json").read_text())
    return [
        Sample(folder / name, np.array(found, np.float32).reshape(-1, 4))
        for name, found in sorted(boxes.items())
    ]


def read_necem(paths: list[Path]) -> list[Sample]:
    """The necem images in `paths` with the boxes of their phones."""
    samples = []
    for path in paths:
        height, width = read_rgb(path).shape[:2]
        samples.append(Sample(path, phone_boxes(path, height, width)))
    return samples


def necem_for_training(necem: Path) -> list[Sample]:
    """necem's train split without what is nearly in its valid or test split."""
    apart = image_paths(necem, "valid") + image_paths(necem, "test")
    return read_necem(without_near_duplicates(image_paths(necem, "train"), apart))


def crop(
    rng: Generator, image: np.ndarray, boxes: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """A random window of the image, stretched to size x size; may reach beyond the image."""
    height, width = image.shape[:2]
    zoom = np.exp(rng.uniform(np.log(0.55), np.log(1.2)))
    stretch = np.exp(rng.uniform(-0.2, 0.2))
    window_w, window_h = width * zoom * stretch, height * zoom / stretch
    left = rng.uniform(min(0, width - window_w), max(0, width - window_w))
    top = rng.uniform(min(0, height - window_h), max(0, height - window_h))
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


class Sampler:
    """Draws training samples: `necem_share` of them photographs, some as mosaics of four."""

    def __init__(self, scenes: list[Sample], necem: list[Sample], necem_share: float) -> None:
        self.scenes, self.necem = scenes, necem
        self.necem_share = necem_share if necem else 0.0

    def single(self, rng: Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """One augmented image, size x size x 3 uint8, and its boxes."""
        source = self.necem if rng.random() < self.necem_share else self.scenes
        sample = source[rng.integers(len(source))]
        image, boxes = crop(rng, read_rgb(sample.path), sample.boxes, size)
        return flip(rng, image, boxes)

    def draw(self, rng: Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """One sample: size x size x 3 float32, 0..255, and its boxes."""
        if rng.random() > MOSAIC_SHARE:
            image, boxes = self.single(rng, size)
            return recolor(rng, image), boxes
        half = size // 2
        image, boxes = np.zeros((size, size, 3), np.uint8), []
        for top in (0, half):
            for left in (0, half):
                part, found = self.single(rng, half)
                image[top : top + half, left : left + half] = part
                boxes.append(found + np.array([left, top, left, top], np.float32))
        return recolor(rng, image), np.concatenate(boxes)


def batches(
    sampler: Sampler, seed: list[int], batch_size: int, size: int
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Endless batches, N x 3 x size x size float32 and boxes, made ahead by one thread."""
    ready: queue.Queue = queue.Queue(maxsize=4)

    def produce() -> None:
        rng = np.random.default_rng(seed)
        while True:
            drawn = [sampler.draw(rng, size) for _ in range(batch_size)]
            images = np.stack([image for image, _ in drawn]).transpose(0, 3, 1, 2)
            ready.put((images, [boxes for _, boxes in drawn]))

    threading.Thread(target=produce, daemon=True).start()
    while True:
        yield ready.get()
