"""What is behind everything: surfaces seen from above, rooms, and photographs."""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from training.scenes import photos, textures
from training.scenes.geometry import Pose
from training.scenes.photos import Photo, PhotoFile
from training.scenes.raster import ramp, random_color
from training.scenes.textures import Texture


@dataclass(frozen=True)
class Sources:
    """What backgrounds are made of; training and evaluation have different ones."""

    textures: list[Texture]
    photos: list[Photo | PhotoFile]


TRAINING = Sources(textures.TRAINING, photos.TRAINING)
HELD_OUT = Sources(textures.HELD_OUT, photos.HELD_OUT)
EXAMPLES = Sources(textures.HELD_OUT, photos.EXAMPLES)


def flat_texture(rng: Generator, sources: Sources, height: int, width: int) -> np.ndarray:
    """A surface from straight above, H x W x 3 float32."""
    surfaces = [photo for photo in sources.photos if photo in photos.SURFACES]
    if surfaces and rng.random() < 0.2:
        crop = crop_photo(rng, surfaces[rng.integers(len(surfaces))], height, width)
        tint = np.asarray(random_color(rng, (0.0, 0.5), (0.5, 1.0)), np.float32) / 190
        return crop * tint
    return sources.textures[rng.integers(len(sources.textures))](rng, height, width)


def crop_photo(rng: Generator, photo: Photo | PhotoFile, height: int, width: int) -> np.ndarray:
    """A random part of `photo`, flipped, recoloured and blurred at random, H x W x 3 float32."""
    image = photo.read()
    rows, columns = image.shape[:2]
    share = rng.uniform(0.45, 1.0)
    crop_width = min(columns, rows * width / height) * share
    crop_height = crop_width * height / width
    left = int(rng.uniform(0, columns - crop_width))
    top = int(rng.uniform(0, rows - crop_height))
    crop = image[top : top + max(2, int(crop_height)), left : left + max(2, int(crop_width))]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    resized = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    if rng.random() < 0.35:
        resized = cv2.GaussianBlur(resized, (0, 0), rng.uniform(0.5, 0.02 * width))
    gain = rng.uniform(0.8, 1.2, 3).astype(np.float32)
    return resized * gain * np.float32(rng.uniform(0.6, 1.25))


def tilted_surface(
    rng: Generator, sources: Sources, pose: Pose, height: int, width: int
) -> np.ndarray:
    """The plane of `pose` covered with one texture, H x W x 3 float32."""
    size = 512 if max(height, width) <= 700 else 1024
    texture = flat_texture(rng, sources, size, size)
    # Mirrored, so that the plane has no end: the picture of a table top, not of a mat.
    texture = np.vstack([np.hstack([texture, texture[:, ::-1]])] * 2)
    texture[size:] = texture[size - 1 :: -1]
    extent = rng.uniform(900, 1800)
    to_millimetres = np.diag([extent / size, extent / size, 1.0]) @ np.array(
        [[1, 0, -size], [0, 1, -size], [0, 0, 1.0]]
    )
    matrix = pose.homography() @ to_millimetres
    return cv2.warpPerspective(
        texture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def wall(rng: Generator, sources: Sources, height: int, width: int) -> np.ndarray:
    """An upright background: paint with a gradient of light, a texture, or a photograph."""
    kind = rng.random()
    if kind < 0.4:
        photo = sources.photos[rng.integers(len(sources.photos))]
        return crop_photo(rng, photo, height, width)
    if kind < 0.6:
        image = flat_texture(rng, sources, height, width)
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 4.0))
    image = textures.plain(rng, height, width)
    light = ramp(height, width, rng.uniform(0, 2 * np.pi)) - 0.5
    image *= 1.0 + rng.uniform(0.0, 0.7) * light[..., None]
    if rng.random() < 0.5:
        add_window(rng, image)
    return image


def add_window(rng: Generator, image: np.ndarray) -> None:
    """A window, a door or a board on the wall: bright or dark panes in a frame."""
    height, width = image.shape[:2]
    left, top = int(rng.uniform(-0.1, 0.8) * width), int(rng.uniform(-0.1, 0.5) * height)
    right, bottom = (
        left + int(rng.uniform(0.15, 0.5) * width),
        top + int(rng.uniform(0.2, 0.7) * height),
    )
    frame, pane = random_color(rng, (0, 0.5)), random_color(rng, (0, 0.4), (0.1, 1.0))
    cv2.rectangle(image, (left, top), (right, bottom), frame, -1)
    border = max(2, width // 60)
    columns, rows = rng.integers(1, 4), rng.integers(1, 8)
    xs = np.linspace(left, right, columns + 1).astype(int)
    ys = np.linspace(top, bottom, rows + 1).astype(int)
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            corner = (max(x0 + border, x1 - border), max(y0 + border, y1 - border))
            cv2.rectangle(image, (x0 + border, y0 + border), corner, pane, -1)


def desk_and_wall(
    rng: Generator, sources: Sources, pose: Pose, height: int, width: int
) -> np.ndarray:
    """A table top below, a wall above its far edge."""
    image = wall(rng, sources, height, width)
    desk = tilted_surface(rng, sources, pose, height, width)
    edge = int(height * rng.uniform(0.1, 0.45))
    image[edge:] = desk[edge:]
    image[edge : edge + max(1, height // 150)] *= rng.uniform(0.5, 1.3)
    return image
