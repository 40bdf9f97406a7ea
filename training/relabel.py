"""What a teacher sees on the photographs that are trained on, beside their own labels.

    python -m training.relabel PHOTOGRAPHS NAME.param seen.json

The teacher looks at each photograph whole, mirrored and in four overlapping quarters. What it is
sure of where nobody drew a box becomes a phone; what it is unsure of is neither right nor wrong in
training. Not on pictures of `necem`, where it takes wallets for phones.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from training.images import read_rgb
from training.metrics import iou, suppress
from training.photographs import Sample, read_photographs, series
from training.teacher import CELL_PHONE, INPUT_SIZE, Teacher

#: Scores from which the teacher is sure, and from which it counts at all: in the whole picture,
#: whose scores are better founded, and in a quarter.
SURE, UNSURE = 0.6, 0.3
#: A box that overlaps a label so much is that label's.
SAME, NMS_IOU = 0.25, 0.5
LEFT_OUT = "necem"


def views(width: int, height: int) -> list[tuple[float, float, float, float]]:
    """Windows to look through, xyxy pixels: the whole, and quarters with a fifth more."""
    part = 0.6
    corners = [(x, y) for x in (0, 1 - part) for y in (0, 1 - part)]
    quarters = [(x, y, x + part, y + part) for x, y in corners]
    scale = np.array([width, height, width, height])
    return [tuple(np.array(one) * scale) for one in [(0, 0, 1, 1), *quarters]]


def look(teacher: Teacher, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and boxes (xyxy pixels) after NMS over all views."""
    height, width = image.shape[:2]
    inputs, windows = [], []
    for window in views(width, height):
        left, top, right, bottom = (round(value) for value in window)
        seen = cv2.resize(
            image[top:bottom, left:right], (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_AREA
        )
        inputs += [seen, seen[:, ::-1]]
        windows += [(left, top, right - left, bottom - top)] * 2
    batch = torch.from_numpy(np.stack(inputs).transpose(0, 3, 1, 2).astype(np.float32))
    found = teacher(batch)
    scores = torch.cat([one[:, CELL_PHONE].flatten(1) for one in teacher.classes(found)], dim=1)
    boxes = teacher.boxes(found).clamp(0, INPUT_SIZE)
    boxes[1::2] = boxes[1::2][..., [2, 1, 0, 3]]
    boxes[1::2, :, ::2] = INPUT_SIZE - boxes[1::2, :, ::2]
    sizes = torch.tensor(windows, dtype=torch.float32)[:, None]
    boxes = boxes * sizes[..., [2, 3, 2, 3]] / INPUT_SIZE + sizes[..., [0, 1, 0, 1]]
    return suppress(scores.flatten().numpy(), boxes.flatten(0, 1).numpy(), NMS_IOU)


def additions(sample: Sample, scores: np.ndarray, boxes: np.ndarray) -> list[list[float]]:
    """Boxes that no label covers: xyxy, and whether the teacher is sure."""
    added = []
    for score, box in zip(scores, boxes, strict=True):
        known = len(sample.boxes) and iou(box, sample.boxes).max() >= SAME
        if score >= UNSURE and not known and not inside(box, sample.boxes):
            added.append([*(round(float(value), 1) for value in box), int(score >= SURE)])
    return added


def inside(box: np.ndarray, labels: np.ndarray) -> bool:
    """Whether most of `box` lies in a label: part of a phone that is labelled."""
    shared = np.minimum(labels[:, 2:], box[2:]) - np.maximum(labels[:, :2], box[:2])
    return bool((shared.clip(0).prod(axis=1) > 0.7 * (box[2:] - box[:2]).prod()).any())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("teacher", type=Path, help="NanoDet-Plus, .param")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    teacher = Teacher(arguments.teacher).eval()
    photographs = read_photographs(arguments.photographs)
    moments = photographs.train + photographs.train_negatives
    seen = {}
    for sample in (sample for moment in moments for sample in moment):
        if series(sample) == LEFT_OUT:
            continue
        with torch.inference_mode():
            added = additions(sample, *look(teacher, read_rgb(sample.path)))
        if added:
            seen[sample.path.name] = added
    arguments.output.write_text(json.dumps(seen, indent=1))
    rows = [row for added in seen.values() for row in added]
    sure = sum(row[4] for row in rows)
    print(f"{arguments.output}: {len(seen)} photographs, {sure} sure, {len(rows) - sure} not")


if __name__ == "__main__":
    main()
