"""Things to paste onto pictures: drawn phones, phones cut out of photographs, look-alikes.

    python -m training.sprites OUTPUT --drawn 2000 --photographs PHOTOGRAPHS

writes each as a square PNG with an alpha channel, and `boxes.json` with the box of each in its
square. Names begin with what they are: `phone` (drawn), `cut` (cut out), `patch` (a phone with what
is around it, softly edged), `thing` (no phone).
"""

import argparse
import json
import multiprocessing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from training.cutouts import cut_out
from training.images import read_rgb
from training.photographs import Photographs, Sample, read_photographs
from training.plan import SpriteLabels
from training.scenes import lookalikes
from training.scenes.backgrounds import TRAINING, Sources
from training.scenes.compose import Stage, stand
from training.scenes.lookalikes import Maker
from training.scenes.painter import Painter, UnclearSceneError
from training.scenes.phones import phone
from training.scenes.photos import PhotoFile

#: Height and width of all of them.
SIDE = 192
#: Seed of the drawn ones.
SEED = 7
#: How many of the drawn ones are no phones.
THING_SHARE = 0.3
#: Each phone that can be cut out is turned so many times.
TURNS = 6
#: Of a patch: the shorter side of its phone in pixels, and what is around it as a share of it.
MIN_PATCH, PATCH_MARGIN = 48, 0.18
#: How often each kind is pasted, whatever the number of its pictures.
WEIGHTS = {"phone": 0.35, "cut": 0.2, "patch": 0.2, "thing": 0.25}


class Middle(Stage):
    """A stage whose things stand in its middle."""

    def spot(self, margin: float = 0.08) -> tuple[float, float]:
        return self.width / 2, self.height / 2


@dataclass(frozen=True)
class Sprite:
    """Square RGBA, uint8, and the box of the thing in it, as shares of its side."""

    rgba: np.ndarray
    box: np.ndarray


def drawn(seed: list[int], sources: Sources, maker: Maker) -> Sprite:
    """A phone or a thing, perhaps in a hand. Raises UnclearSceneError where it is hidden."""
    seen = []
    # On black and on white: what differs is what is seen through.
    for tone in (0, 255):
        rng = np.random.default_rng(seed)
        stage = Middle(rng, sources, SIDE, SIDE)
        background = np.full((SIDE, SIDE, 3), tone, np.float32)
        painter = Painter(background, np.ones((SIDE, SIDE, 3), np.float32))
        stand(stage, painter, maker, SIDE * rng.uniform(0.4, 0.8), bool(rng.random() < 0.55))
        seen.append(painter)
    black, white = seen[0].image, seen[1].image
    alpha = np.clip(255 - (white - black).mean(axis=2), 0, 255)
    color = np.clip(black / np.maximum(alpha[..., None] / 255, 1 / 255), 0, 255)
    rgba = np.dstack([color, alpha]).round().astype(np.uint8)
    boxes = seen[0].boxes()
    return Sprite(rgba, boxes[0] / SIDE if len(boxes) else opaque_box(rgba))


def opaque_box(rgba: np.ndarray) -> np.ndarray:
    """The box around what is not seen through, as shares of the side."""
    rows, columns = np.nonzero(rgba[..., 3] > 127)
    if not len(rows):
        raise UnclearSceneError("nothing is seen")
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return np.array(box, np.float32) / rgba.shape[0]


def turned(rng: Generator, rgba: np.ndarray) -> Sprite:
    """A cut-out phone at another angle, in a square."""
    rows, columns = rgba.shape[:2]
    scale = (SIDE - 4) / np.hypot(rows, columns)
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), rng.uniform(0, 360), scale)
    matrix[:, 2] += SIDE / 2 - np.array([columns / 2, rows / 2])
    alpha = rgba[..., 3:].astype(np.float32) / 255
    layer = np.dstack([rgba[..., :3] * alpha, alpha * 255])
    if scale < 0.7:
        layer = cv2.GaussianBlur(layer, (0, 0), 0.35 / scale)
    layer = cv2.warpAffine(layer, matrix, (SIDE, SIDE))
    color = layer[..., :3] / np.maximum(layer[..., 3:] / 255, 1 / 255)
    square = np.clip(np.dstack([color, layer[..., 3:]]), 0, 255).round().astype(np.uint8)
    return Sprite(square, opaque_box(square))


def patch(image: np.ndarray, box: np.ndarray) -> Sprite | None:
    """A phone with what is around it, fading outwards; None where it is small or cut."""
    height, width = image.shape[:2]
    size = box[2:] - box[:2]
    if size.min() < MIN_PATCH or (box[:2] < 3).any() or (box[2:] > (width - 3, height - 3)).any():
        return None
    margin = PATCH_MARGIN * size.max()
    left, top = np.maximum(box[:2] - margin, 0).astype(int)
    right, bottom = np.minimum(box[2:] + margin, (width, height)).astype(int)
    window = image[top:bottom, left:right]
    inner = box.reshape(2, 2) - (left, top)
    alpha = np.zeros(window.shape[:2], np.float32)
    x0, y0, x1, y1 = np.concatenate([inner[0] - margin * 0.3, inner[1] + margin * 0.3]).astype(int)
    alpha[max(y0, 0) : y1, max(x0, 0) : x1] = 255
    alpha = cv2.GaussianBlur(alpha, (0, 0), margin * 0.25)
    scale = SIDE / max(window.shape[:2])
    small = cv2.resize(
        np.dstack([window, alpha.round().astype(np.uint8)]),
        None,
        fx=scale,
        fy=scale,
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
    )[:SIDE, :SIDE]
    square = np.zeros((SIDE, SIDE, 4), np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return Sprite(square, (inner.ravel() * scale / SIDE).astype(np.float32))


def write(folder: Path, name: str, sprite: Sprite) -> tuple[str, list[float]]:
    """Write one; returns its name and box."""
    cv2.imwrite(str(folder / name), cv2.cvtColor(sprite.rgba, cv2.COLOR_RGBA2BGRA))
    return name, sprite.box.tolist()


def write_drawn(index: int, sources: Sources, folder: Path) -> list[tuple[str, list[float]]]:
    """Draw and write one; the same index gives the same."""
    rng = np.random.default_rng([SEED, index])
    makers = lookalikes.HELD + lookalikes.SMALL
    thing = rng.random() < THING_SHARE
    maker = makers[rng.integers(len(makers))] if thing else phone
    for attempt in range(20):
        try:
            sprite = drawn([SEED, index, attempt], sources, maker)
        except UnclearSceneError:
            continue
        return [write(folder, f"{'thing' if thing else 'phone'}_{index:05}.png", sprite)]
    return []


def write_cut(sample: Sample, folder: Path) -> list[tuple[str, list[float]]]:
    """Cut out what can be of one photograph."""
    image, written = read_rgb(sample.path), []
    rng = np.random.default_rng([SEED, *sample.path.stem.encode()])
    for index, box in enumerate(sample.boxes):
        name = f"{sample.path.stem}_{index}"
        cutout = cut_out(image, box)
        if cutout is not None:
            written += [
                write(folder, f"cut_{name}_{turn}.png", turned(rng, cutout))
                for turn in range(TURNS)
            ]
        piece = patch(image, box)
        if piece is not None:
            written.append(write(folder, f"patch_{name}.png", piece))
    return written


def read_sprites(folder: Path) -> tuple[np.ndarray, SpriteLabels]:
    """The sprites in `folder`: K x 4 x side x side uint8, RGB times alpha and alpha; and labels."""
    boxes = json.loads((folder / "boxes.json").read_text())
    layers = np.zeros((len(boxes), 4, SIDE, SIDE), np.uint8)
    for number, name in enumerate(boxes):
        rgba = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
        alpha = rgba[..., 3:].astype(np.uint16)
        layers[number, :3] = (rgba[..., :3] * alpha // 255).transpose(2, 0, 1)
        layers[number, 3] = alpha[..., 0]
    kinds = [name.split("_")[0] for name in boxes]
    weights = [WEIGHTS[kind] / kinds.count(kind) for kind in kinds]
    labels = SpriteLabels(
        np.array(list(boxes.values()), np.float32).reshape(-1, 4),
        np.array([kind != "thing" for kind in kinds]),
        np.array(weights),
    )
    return layers, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--drawn", type=int, default=2000)
    parser.add_argument("--photographs", type=Path, help="their folder (training/photographs.py)")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    photographs = Photographs([], [], [], [])
    if arguments.photographs:
        photographs = read_photographs(arguments.photographs)
    pictures = [sample for group in photographs.train_negatives for sample in group]
    sources = Sources(
        TRAINING.textures, TRAINING.photos + [PhotoFile(one.path) for one in pictures]
    )
    labelled = [sample for group in photographs.train for sample in group]
    with multiprocessing.Pool(arguments.jobs) as pool:
        parts = pool.imap(partial(write_cut, folder=arguments.output), labelled, chunksize=4)
        boxes = dict(entry for part in parts for entry in part)
        draw = partial(write_drawn, sources=sources, folder=arguments.output)
        for part in pool.imap(draw, range(arguments.drawn), chunksize=16):
            boxes.update(part)
    (arguments.output / "boxes.json").write_text(json.dumps(boxes))
    kinds = [name.split("_")[0] for name in boxes]
    print(f"{arguments.output}:", {kind: kinds.count(kind) for kind in WEIGHTS})


if __name__ == "__main__":
    main()
