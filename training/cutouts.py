"""Phones cut out of the labelled photographs, to be pasted onto others.

    python -m training.cutouts PHOTOGRAPHS OUTPUT

writes them as PNG files with an alpha channel. Only phones of training photographs are cut out,
and only where what GrabCut takes for the phone has a phone's shape, filling its box.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from training.images import read_rgb
from training.photographs import read_photographs

#: The shorter side that a phone's box has at least, in pixels.
MIN_SIDE = 70
#: How much of its smallest turned rectangle a phone fills at least, and its mask of the label.
MIN_FILLED, MIN_OVERLAP = 0.88, 0.8


def cut_out(image: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The phone in `box` (xyxy) of `image` as H x W x 4 uint8 RGBA, or None where it is unclear."""
    height, width = image.shape[:2]
    left, top, right, bottom = box.round().astype(int)
    if min(right - left, bottom - top) < MIN_SIDE:
        return None
    if left <= 2 or top <= 2 or right >= width - 2 or bottom >= height - 2:
        return None  # cut by the picture's edge, perhaps
    margin = max(right - left, bottom - top) // 5
    x0, y0 = max(left - margin, 0), max(top - margin, 0)
    window = image[y0 : bottom + margin, x0 : right + margin]
    mask = np.full(window.shape[:2], cv2.GC_BGD, np.uint8)
    inner = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
    mask[inner] = cv2.GC_PR_FGD
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(window), mask, None, models[0], models[1], 4, cv2.GC_INIT_WITH_MASK
    )
    phone = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    phone = cv2.morphologyEx(phone, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(phone, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    outline = max(contours, key=cv2.contourArea)
    area = cv2.contourArea(outline)
    rectangle = cv2.minAreaRect(outline)
    x, y, w, h = cv2.boundingRect(outline)
    overlap = w * h / ((right - left) * (bottom - top))
    if area < MIN_FILLED * rectangle[1][0] * rectangle[1][1] or overlap < MIN_OVERLAP:
        return None
    solid = np.zeros_like(phone)
    cv2.drawContours(solid, [outline], -1, 255, -1)
    solid = cv2.GaussianBlur(cv2.erode(solid, np.ones((3, 3), np.uint8)), (0, 0), 0.8)
    return np.dstack([window, solid])[y : y + h, x : x + w]


def paste(
    rng: Generator, image: np.ndarray, boxes: np.ndarray, cutouts: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """One more phone in `image`: turned, resized and lit at random, where none is yet."""
    height, width = image.shape[:2]
    cutout = cutouts[rng.integers(len(cutouts))]
    rows, columns = cutout.shape[:2]
    longest = np.exp(rng.uniform(np.log(0.05), np.log(0.8)))
    scale_x = longest * width / max(rows, columns) * np.exp(rng.uniform(-0.15, 0.15))
    scale_y = longest * height / max(rows, columns) * np.exp(rng.uniform(-0.15, 0.15))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.5:
        turn[:, 0] *= -1
    matrix = np.diag([scale_x, scale_y]) @ turn
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]]) @ matrix.T
    size = np.ceil(np.ptp(corners, axis=0)).astype(int) + 2
    if (size >= (width, height)).any():
        return image, boxes
    if max(scale_x, scale_y) < 0.6:
        reduced = max(2, round(columns * scale_x * 1.3)), max(2, round(rows * scale_x * 1.3))
        cutout = cv2.resize(cutout, reduced, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([columns / reduced[0], rows / reduced[1]])
    placed = np.column_stack([matrix, 1 - corners.min(axis=0)])
    warped = cv2.warpAffine(cutout, placed, size.tolist(), flags=cv2.INTER_LINEAR)
    seen = np.argwhere(warped[..., 3] > 127)
    if len(seen) < 20:
        return image, boxes
    left, top = rng.integers(0, (width - size[0], height - size[1]))
    y0, x0 = seen.min(axis=0)
    y1, x1 = seen.max(axis=0) + 1
    box = np.array([left + x0, top + y0, left + x1, top + y1], np.float32)
    if len(boxes):
        shared = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        if (shared > 0).all(axis=1).any():
            return image, boxes
    image = image.copy()
    target = image[top : top + size[1], left : left + size[0]]
    alpha = warped[..., 3:].astype(np.float32) / 255
    light = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.05, 3))
    blended = target * (1 - alpha) + np.clip(warped[..., :3] * light, 0, 255) * alpha
    target[:] = blended.astype(np.uint8)
    return image, np.vstack([boxes, box])


def read_cutouts(folder: Path) -> list[list[np.ndarray]]:
    """The cut-outs in `folder`, H x W x 4 uint8 RGBA each, by the series they come from."""
    found: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*.png")):
        image = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
        found.setdefault(path.stem.split("_")[0], []).append(image)
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    count = phones = 0
    for group in read_photographs(arguments.photographs).train:
        for sample in group:
            image = read_rgb(sample.path)
            for index, box in enumerate(sample.boxes):
                phones += 1
                cutout = cut_out(image, box)
                if cutout is None:
                    continue
                count += 1
                name = f"{sample.path.stem}_{index}.png"
                cv2.imwrite(str(arguments.output / name), cv2.cvtColor(cutout, cv2.COLOR_RGBA2BGRA))
    print(f"{arguments.output}: {count} cut-outs of {phones} phones")


if __name__ == "__main__":
    main()
