"""A 12-megapixel photo: decoded only as large as the model sees it, against in full."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.throughput.figures import number, ratio, spread, table
from benchmarks.throughput.options import Options
from benchmarks.throughput.picture import ROOT, SEED
from pipeline.job import Detection, ImageInfo
from pipeline.settings import load
from worker.model.nms import detections
from worker.model.preprocess import Prepared, preprocess
from worker.model.session import Detector

TITLE = "A photo of 12 megapixels"
#: Runs of each in one round.
RUNS = 5
#: Score from which a box can be the partner of a detection.
LOW = 0.05


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    return 20 + options.rounds * RUNS * 0.5


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds of `preprocess` both ways, and what it changes in the detections."""
    detector = Detector(load(model=options.bundled, threads=1, workers=options.workers))
    cv2.setNumThreads(1)
    figures: dict[str, Any] = {"reduced_ms": [], "full_ms": [], "ratio": [], "photos": []}
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        data, info = enlarged(path)
        figures["size"] = [info.width, info.height]
        figures["photos"].append({"name": path.name} | _compare(detector, data))
        say(f"{path.name}: {figures['photos'][-1]}")
    for _ in range(options.rounds):
        full, reduced, again = (
            _preprocess_ms(detector, data, reduced=way) for way in (False, True, False)
        )
        figures["full_ms"] += [full, again]
        figures["reduced_ms"].append(reduced)
        figures["ratio"].append(ratio(reduced, full, again))
    return figures


def enlarged(path: Path, megapixels: float = 12.2) -> tuple[bytes, ImageInfo]:
    """An example as a phone's camera would have taken it: as large, with the noise of one."""
    example = cv2.imread(str(path))
    assert example is not None
    factor = (megapixels * 1e6 / (example.shape[0] * example.shape[1])) ** 0.5
    image = cv2.resize(example, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    noise = np.asarray(np.random.default_rng(SEED).normal(0, 4, image.shape), np.float32)
    noisy: NDArray[np.uint8] = np.clip(np.add(image, noise), 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    height, width = noisy.shape[:2]
    return data, ImageInfo(width=width, height=height, format="JPEG", bytes=len(data))


def _preprocess_ms(detector: Detector, data: bytes, *, reduced: bool) -> float:
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        preprocess(data, detector.spec.height, detector.spec.width, reduced=reduced)
        taken.append((time.perf_counter() - began) * 1e3)
    return float(np.median(taken))


def _detect(detector: Detector, prepared: Prepared, threshold: float) -> list[Detection]:
    spec = detector.spec
    scores, boxes = detector.run([prepared.pixels])
    return detections(
        scores[0], boxes[0], spec.labels,
        input_size=(spec.width, spec.height), image_size=(prepared.width, prepared.height),
        score_threshold=threshold, iou_threshold=detector.iou_threshold, most=100,
    )[0]  # fmt: skip


def _compare(detector: Detector, data: bytes) -> dict[str, Any]:
    """Each detection of either way beside the other way's nearest box, however that scored.

    A score just above the threshold one way may lie just below it the other way, so the partner
    is looked for below the threshold, too.
    """
    size = (detector.spec.height, detector.spec.width)
    prepared = [preprocess(data, *size, reduced=way) for way in (False, True)]
    full, reduced = (_detect(detector, one, detector.score_threshold) for one in prepared)
    full_low, reduced_low = (_detect(detector, one, LOW) for one in prepared)
    pairs = [
        max(
            (iou(_corners(one), _corners(other)), -abs(one.score - other.score)) for other in others
        )
        for found, others in ((full, reduced_low), (reduced, full_low))
        for one in found
        if others
    ]
    return {
        "full": len(full),
        "reduced": len(reduced),
        "least_iou": min((pair[0] for pair in pairs), default=None),
        "most_score": max((-pair[1] for pair in pairs), default=None),
    }


def _corners(detection: Detection) -> NDArray[np.float64]:
    box = detection.box
    return np.array([box.x1, box.y1, box.x2, box.y2])


def iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes, xyxy."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    overlap = float(np.prod(np.maximum(sides, 0)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (one, other)]
    return overlap / (sum(areas) - overlap)


def render(figures: dict[str, Any]) -> list[str]:
    """Times, then each photo's detections."""
    width, height = figures["size"]
    times = table(
        [f"decode and resize, {width} x {height}, one thread", "ms"],
        [["in full", spread(figures["full_ms"], 1)],
         ["reduced while it is decoded", spread(figures["reduced_ms"], 1)],
         ["reduced / full", spread(figures["ratio"])]],
    )  # fmt: skip
    rows = [
        [photo["name"], f"{photo['full']}", f"{photo['reduced']}", number(photo["least_iou"], 3),
         number(photo["most_score"], 3)]
        for photo in figures["photos"]
    ]  # fmt: skip
    head = ["photo", "detections, in full", "reduced", "least IoU of a pair",
            "largest difference of a score"]  # fmt: skip
    return [*times, "", *table(head, rows)]
