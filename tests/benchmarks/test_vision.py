"""The plain work that bare loops and peers do."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.throughput.bare import Loops
from benchmarks.throughput.vision import Vision
from pipeline.settings import load
from tests.paths import ROOT
from worker.model.nms import detections
from worker.model.session import Detector

MODEL = ROOT / "models" / "damoyolo_ns_phone.onnx"


def ours(detector: Detector, data: bytes) -> list[dict[str, object]]:
    """What the worker's stages find in an image that is stretched as plainly as the peers do it."""
    spec = detector.spec
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    pixels = cv2.resize(image, (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
    scores, boxes = detector.run([np.asarray(pixels, np.uint8)])
    found, _ = detections(
        scores[0], boxes[0], spec.labels,
        input_size=(spec.width, spec.height), image_size=(image.shape[1], image.shape[0]),
        score_threshold=detector.score_threshold, iou_threshold=detector.iou_threshold, most=300,
    )  # fmt: skip
    return [asdict(detection) for detection in found]


@pytest.mark.parametrize("name", ["several.jpg", "photo-several.jpg", "hand.jpg"])
def test_peers_find_what_we_find(name: str) -> None:
    """The comparison is of servers: the same picture gives the same boxes behind each."""
    data = (ROOT / "examples" / name).read_bytes()
    expected = ours(Detector(load(threads=1, provider="cpu")), data)
    got = json.loads(Vision(str(MODEL)).answer(data))["detections"]
    assert expected
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
        assert one["box"] == pytest.approx(other["box"], abs=0.1)


def test_bare_loops_report_what_they_did(tmp_path: Path) -> None:
    """Rate, CPU time and the time of each image, of all loops together."""
    with Loops(MODEL, ROOT / "examples" / "hand.jpg", 2) as loops:
        found = loops.run(0.3)
        again = loops.run(0.3, pause_s=0.01)
    assert len(found.image_ms) >= 2
    assert found.images_per_s > 0
    assert found.cpu_ms_per_image > 0
    assert again.p50_ms > 0
