"""The model that ships, on the examples that ship."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.job import Box, DetectJob, DetectOptions, ImageInfo
from pipeline.queue import Taken
from pipeline.settings import ROOT, load
from worker import model
from worker.inference import Detector
from worker.item import Item
from worker.stages import Stages

EXAMPLES = ROOT / "examples"
TRUTH: dict[str, list[list[float]]] = json.loads((EXAMPLES / "labels.json").read_text())


@pytest.fixture(scope="module")
def stages() -> Stages:
    return Stages(Detector(load(threads=1)), threads=1)


def overlap(box: Box, truth: list[float]) -> float:
    """Intersection over union."""
    width = min(box.x2, truth[2]) - max(box.x1, truth[0])
    height = min(box.y2, truth[3]) - max(box.y1, truth[1])
    shared = max(width, 0) * max(height, 0)
    areas = (box.x2 - box.x1) * (box.y2 - box.y1) + (truth[2] - truth[0]) * (truth[3] - truth[1])
    return shared / (areas - shared)


def test_every_example_is_labelled() -> None:
    """labels.json tells of each example, of those without a phone too."""
    assert {path.name for path in EXAMPLES.glob("*.jpg")} == set(TRUTH)


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_the_phones_of_the_examples_are_found(stages: Stages, name: str) -> None:
    """At the model's own threshold each phone has a box that overlaps it by at least half."""
    item = Item(
        Taken(
            job_id=name, execution_id="", queue="", meta={}, enqueued_ns=0, taken_ns=0, attempt=1,
            reply_to="", image=(EXAMPLES / name).read_bytes(),
            job=DetectJob(
                options=DetectOptions(),
                image=ImageInfo(width=0, height=0, format="JPEG", bytes=0),
                deadline_s=float("inf"),
                upload_ms=0,
            ),
        )
    )  # fmt: skip
    stages.run(item)
    for truth in TRUTH[name]:
        assert max((overlap(found.box, truth) for found in item.detections), default=0) >= 0.5


def test_the_file_describes_itself() -> None:
    """The bundled file is at most 6 MB, has a free batch axis, and says what it is."""
    path = Path(load().model)
    graph = model.load(path)
    assert path.stat().st_size <= 6_000_000
    assert graph.free_batch
    assert json.loads(graph.metadata["damoscope.labels"]) == ["phone"]
    assert json.loads(graph.metadata["damoscope.input_size"]) == [graph.height, graph.width]
    assert json.loads(graph.metadata["damoscope.training"])
