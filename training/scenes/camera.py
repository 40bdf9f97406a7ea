"""What a camera makes of a scene: light, focus, motion, noise, compression."""

import cv2
import numpy as np
from numpy.random import Generator

from training.scenes.raster import ramp


def light_of_room(rng: Generator, height: int, width: int) -> np.ndarray:
    """The light that falls on everything, as H x W x 3 factors."""
    exposure = np.exp(rng.normal(0.0, 0.18))
    if rng.random() < 0.08:
        exposure *= rng.uniform(0.4, 0.7)
    warmth = rng.normal(0.0, 0.07)
    tint = np.array([1 + warmth, 1 + rng.normal(0, 0.02), 1 - warmth], np.float32)
    slope = (ramp(height, width, rng.uniform(0, 2 * np.pi)) - 0.5) * rng.uniform(0.0, 0.6)
    return (1 + slope)[..., None] * tint * np.float32(exposure)


def photograph(rng: Generator, scene: np.ndarray, quality: tuple[int, int]) -> np.ndarray:
    """H x W x 3 float32 as a camera would store it: uint8, through a JPEG of `quality`."""
    height, width = scene.shape[:2]
    image = scene
    kind = rng.random()
    if kind < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4) * width / 480)
    elif kind < 0.37:
        image = motion_blur(image, rng.uniform(2, 9) * width / 480, rng.uniform(0, np.pi))
    if rng.random() < 0.3:
        mean = image.mean()
        image = (image - mean) * np.float32(rng.uniform(0.6, 1.3)) + mean
    if rng.random() < 0.25:
        image = image + np.float32(rng.uniform(0, 35))
    if rng.random() < 0.06:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    noise = rng.gamma(1.2, 2.5)
    grain = rng.normal(0, 1, (height, width, 1 if rng.random() < 0.5 else 3)).astype(np.float32)
    image = np.clip(image + grain * np.float32(noise), 0, 255).astype(np.uint8)
    setting = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*quality))]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), setting)[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def motion_blur(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Blur along a line of `length` pixels at `angle` radians."""
    size = max(3, int(length) | 1)
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    dx, dy = np.cos(angle) * middle, np.sin(angle) * middle
    start, end = (round(middle - dx), round(middle - dy)), (round(middle + dx), round(middle + dy))
    cv2.line(kernel, start, end, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())
