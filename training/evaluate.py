"""Average precision, precision, recall, false alarms and speed of an exported model.

Run with ONNX Runtime, at the threshold that the file itself names; written as Markdown.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from training.data import read_scenes
from training.images import read_rgb, to_input
from training.metrics import (
    Match,
    average_precisions,
    bootstrap,
    false_boxes,
    match,
    precision_and_recall,
    suppress,
    wilson,
)
from training.photographs import Sample, read_labelled, read_negatives, series

#: Bins of the longer side of a phone's box as a share of the image's width or height.
SIZES = [0.0, 0.1, 0.2, 0.3, 0.45, 0.6, np.inf]
SHEET_COLUMNS, SHEET_CELL = 8, 240


@dataclass(frozen=True)
class Model:
    """An exported model with what its metadata says about using it."""

    session: onnxruntime.InferenceSession
    height: int
    width: int
    score_threshold: float
    iou_threshold: float

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and N x 4 xyxy boxes in pixels of `image` (H x W x 3 uint8), sorted by score."""
        height, width = image.shape[:2]
        inputs = {"images": to_input(image, self.height, self.width)[None]}
        scores, boxes = self.session.run(["scores", "boxes"], inputs)
        to_image = np.array([width, height, width, height], np.float32)
        to_image /= (self.width, self.height, self.width, self.height)
        return suppress(scores[0, :, 0], boxes[0] * to_image, self.iou_threshold)


def load(path: Path, threads: int = 1) -> Model:
    """The model in `path`, on `threads` threads of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    height, width = json.loads(metadata["damoscope.input_size"])
    return Model(
        session,
        height,
        width,
        float(metadata["damoscope.score_threshold"]),
        float(metadata["damoscope.iou_threshold"]),
    )


def evaluate(model: Model, samples: Iterable[Sample]) -> list[Match]:
    """What `model` finds in each of `samples`, against what is there."""
    return [match(*model.detect(read_rgb(sample.path)), sample.boxes) for sample in samples]


def interval(hits: int, count: int) -> str:
    """A share with its count and its 95 % interval."""
    low, high = wilson(hits, count)
    return f"{hits / max(count, 1):.2f} ({hits}/{count}; {low:.2f} to {high:.2f})"


def overall(name: str, matches: list[Match], threshold: float) -> str:
    """A row of figures over one set."""
    precisions = average_precisions(matches)
    precision, recall = precision_and_recall(matches, threshold)
    low, high = bootstrap(matches)
    phones = sum(len(one.found) for one in matches)
    return (
        f"| {name} | {len(matches)} | {phones} | {precisions[0]:.3f} ({low:.2f} to {high:.2f}) "
        f"| {precisions.mean():.3f} | {precision:.2f} | {recall:.2f} |"
    )


HEAD = "| set | images | phones | AP50 | AP | precision | recall |\n|---|---|---|---|---|---|---|"


def relative_sizes(sample: Sample) -> np.ndarray:
    """The longer side of each box, as a share of the image's."""
    height, width = read_rgb(sample.path).shape[:2]
    sides = (sample.boxes[:, 2:] - sample.boxes[:, :2]) / (width, height)
    return sides.max(axis=1)


def recall_by_size(samples: list[Sample], matches: list[Match], threshold: float) -> str:
    """A table of recall for phones from small to large."""
    sizes = np.concatenate([relative_sizes(sample) for sample in samples])
    found = np.concatenate([one.found for one in matches]) >= threshold
    rows = ["| longer side of the phone, share of the picture | recall |", "|---|---|"]
    for low, high in itertools.pairwise(SIZES):
        inside = (sizes >= low) & (sizes < high)
        name = f"{low:.2f} to {high:.2f}" if np.isfinite(high) else f"{low:.2f} and more"
        rows.append(f"| {name} | {interval(int(found[inside].sum()), int(inside.sum()))} |")
    return "\n".join(rows)


def false_alarms(name: str, matches: list[Match], threshold: float) -> str:
    """A row of what is detected where no phone is."""
    alarmed = sum(bool((one.scores >= threshold).any()) for one in matches)
    boxes = false_boxes(matches, threshold)
    return f"| {name} | {len(matches)} | {boxes:.3f} | {interval(alarmed, len(matches))} |"


def by_series(samples: list[Sample], matches: list[Match]) -> dict[str, list[Match]]:
    """`matches` by where the photographs come from."""
    found: dict[str, list[Match]] = {}
    for sample, one in zip(samples, matches, strict=True):
        found.setdefault(f"{series(sample)}_", []).append(one)
    return dict(sorted(found.items()))


def sheet(model: Model, samples: list[Sample], path: Path) -> None:
    """Write `samples` as one picture: phones in green, detections in red with their scores."""
    cells = []
    for sample in samples:
        image = read_rgb(sample.path)[..., ::-1]
        factor = SHEET_CELL / np.array(image.shape[1::-1])
        cell = cv2.resize(image, (SHEET_CELL, SHEET_CELL), interpolation=cv2.INTER_AREA)
        scores, boxes = model.detect(read_rgb(sample.path))
        for box in sample.boxes:
            corners = (box.reshape(2, 2) * factor).astype(int).tolist()
            cv2.rectangle(cell, corners[0], corners[1], (0, 255, 0), 2)
        for score, box in zip(scores, boxes, strict=True):
            if score < model.score_threshold / 2:
                continue
            sure = score >= model.score_threshold
            corners = (box.reshape(2, 2) * factor).astype(int).tolist()
            color = (0, 0, 255) if sure else (0, 200, 255)
            cv2.rectangle(cell, corners[0], corners[1], color, 2 if sure else 1)
            at = (max(corners[0][0], 2), max(corners[0][1] + 12, 12))
            cv2.putText(cell, f"{score:.2f}", at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, 1)
        cells.append(cell)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % SHEET_COLUMNS)
    rows = [np.hstack(cells[i : i + SHEET_COLUMNS]) for i in range(0, len(cells), SHEET_COLUMNS)]
    cv2.imwrite(str(path), np.vstack(rows))


def milliseconds(path: Path, threads: int, runs: int = 60) -> float:
    """Median time of one ONNX Runtime call with one image."""
    model = load(path, threads)
    image = np.full((1, 3, model.height, model.width), 127, np.float32)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        model.session.run(None, {"images": image})
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def report_photographs(model: Model, folder: Path, sheets: Path | None) -> None:
    """The figures on the photographs in `folder` that judge."""
    threshold = model.score_threshold
    samples, negatives = read_labelled(folder / "heldout"), read_negatives(folder, "judge")
    matches, alarms = evaluate(model, samples), evaluate(model, negatives)
    print(HEAD)
    print(overall("photographs, held out", matches, threshold))
    for name, part in by_series(samples, matches).items():
        print(overall(f"of these {name}", part, threshold))
    print(f"\n{recall_by_size(samples, matches, threshold)}\n")
    print("| photographs without a phone | images | false boxes an image | images with one |")
    print("|---|---|---|---|")
    print(false_alarms("all", alarms, threshold))
    for name, part in by_series(negatives, alarms).items():
        print(false_alarms(f"of these {name}", part, threshold))
    print()
    if sheets:
        sheets.mkdir(parents=True, exist_ok=True)
        sheet(model, samples, sheets / "heldout.png")
        sheet(model, negatives, sheets / "negatives.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--photographs", type=Path, help="their folder (training/photographs.py)")
    parser.add_argument("--scenes", type=Path, nargs="*", default=[])
    parser.add_argument("--sheets", type=Path, help="folder for pictures of hits and misses")
    arguments = parser.parse_args()
    model = load(arguments.model)
    print(f"Threshold {model.score_threshold}, overlap at least 0.5\n")
    if arguments.photographs:
        report_photographs(model, arguments.photographs, arguments.sheets)
    if arguments.scenes:
        print(HEAD)
    for folder in arguments.scenes:
        print(overall(str(folder), evaluate(model, read_scenes(folder)), model.score_threshold))
    for threads in (1, 2):
        print(f"{threads} thread(s): {milliseconds(arguments.model, threads):.1f} ms per image")


if __name__ == "__main__":
    main()
