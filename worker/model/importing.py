"""Makes of any ONNX export of DAMO-YOLO the file that workers run, and compares the two.

What is written takes uint8 images, several at once where that is sound, and carries its name, class
names, size and thresholds. What depends on provider and threads is changed at each start still:
the CPU's edits (`graph.for_cpu`) take a hundredth of one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pipeline.errors import ModelError
from worker.model.graph import for_cpu, takes_images, with_uint8_input
from worker.model.graph.batch import with_free_batch, with_one_image
from worker.model.loading import (
    Graph,
    ModelSpec,
    check_output_count,
    describe,
    image_input,
    metadata_of,
    readable,
)
from worker.model.outputs import synthetic
from worker.model.trial import Outputs, run_on, session_of

#: Pictures that both files are run on, and how many of them at once.
PICTURES, TOGETHER = 4, 3
#: Largest difference between the two files: of scores, and of boxes in pixels.
SCORES_WITHIN, BOXES_WITHIN_PX = 1e-3, 0.1
#: The same where numbers in the file are of half precision, which keeps three digits.
HALF_SCORES_WITHIN, HALF_BOXES_WITHIN_PX = 1e-2, 1.0


@dataclass(frozen=True)
class Parity:
    """How far the written file is from the original, on the same pictures."""

    #: Largest differences: of scores, and of boxes in pixels.
    scores: float
    boxes_px: float
    pictures: int
    #: Pictures that were run at once, beside each by itself.
    together: int

    def __str__(self) -> str:
        ways = f"alone and {self.together} at once" if self.together > 1 else "one at a time"
        return (
            f"on {self.pictures} pictures, {ways}: scores within {self.scores:.1e}, boxes within "
            f"{self.boxes_px:.1e} px"
        )


@dataclass(frozen=True)
class ImportedModel:
    """What was written, and what there is to say of it."""

    spec: ModelSpec
    parity: Parity
    free_batch: bool
    licence: str
    #: Sentences for whoever imports it: what was changed, what to look at.
    notes: list[str] = field(default_factory=list)


def import_onnx(
    source: Path,
    target: Path,
    *,
    name: str,
    labels: Path | None = None,
    input_size: tuple[int, int] | None = None,
) -> ImportedModel:
    """Write `target`, made of the export `source`. `labels` is a file with one name a line;
    `input_size` (height, width) is for an export that leaves it open.

    Raises ModelError or ConfigurationError saying what is wrong with the model or the labels.
    """
    model = readable(source)
    try:
        return _import(model, source, target, name, labels, input_size)
    except ModelError as error:
        if str(error).startswith(f"{source}: "):
            raise
        raise ModelError(f"{source}: {error}") from error


def _import(
    model: onnx.ModelProto, source: Path, target: Path, name: str, labels: Path | None,
    input_size: tuple[int, int] | None,
) -> ImportedModel:  # fmt: skip
    height, width = _with_size(model, input_size)
    batch, *_ = image_input(model, metadata_of(model))
    check_output_count(model)
    pictures = [synthetic(height, width, seed) for seed in range(PICTURES)]
    original = session_of(model.SerializeToString())
    expected = [run_on(original, model, [picture]) for picture in pictures]
    spec = _one_spec(model, source, expected, labels, height, width)
    written, parity, free, notes = _written(model, pictures, expected, spec, batch is None)
    _describe_in(written, spec, name, source, parity)
    notes += _about_labels(metadata_of(model), labels, spec, expected[0][spec.scores_output])
    target.write_bytes(written.SerializeToString())
    licence = metadata_of(model).get("damoscope.license", "")
    return ImportedModel(spec, parity, free, licence, notes)


def _with_size(model: onnx.ModelProto, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the input, which are fixed in the graph where they were open."""
    meta = metadata_of(model)
    if wanted is not None:
        meta = meta | {"damoscope.input_size": json.dumps(wanted)}
    _, height, width = image_input(model, meta)
    if wanted is not None and wanted != (height, width):
        raise ModelError(
            f"its input is fixed at {height} x {width}: it cannot be run at {wanted[0]} x "
            f"{wanted[1]}; export it again with that size"
        )
    if not takes_images(model):
        for value in model.graph.input:
            shape = value.type.tensor_type.shape.dim
            if len(shape) == 4:
                shape[2].dim_value, shape[3].dim_value = height, width
    return height, width


def _one_spec(
    model: onnx.ModelProto, source: Path, expected: Sequence[Outputs], labels: Path | None,
    height: int, width: int,
) -> ModelSpec:  # fmt: skip
    """What the outputs are, for which all pictures have to speak."""
    graph = Graph(source, b"", metadata_of(model), height, width, free_batch=False, version="")
    specs = {describe(graph, outputs, labels) for outputs in expected}
    if len(specs) != 1:
        raise ModelError("which output has the boxes differs from picture to picture")
    return specs.pop()


def _written(
    model: onnx.ModelProto, pictures: Sequence[NDArray[np.uint8]], expected: Sequence[Outputs],
    spec: ModelSpec, free: bool,
) -> tuple[onnx.ModelProto, Parity, bool, list[str]]:  # fmt: skip
    """The first way to write it that gives what the original gives: for several images at once, or
    else for one."""
    as_it_is, freed, single = _copy(model), _copy(model), _copy(model)
    with_one_image(single)
    ways = [(single, 1, "its batch axis stays 1: several images at once gave other numbers")]
    if not takes_images(model):
        with_free_batch(freed)
        ways.insert(0, (freed, TOGETHER, "its batch axis was made free"))
    if free:
        ways.insert(0, (as_it_is, TOGETHER, ""))
    refusal = None
    for written, together, note in ways:
        if not takes_images(written):
            with_uint8_input(written)
        try:
            parity = _compare(written, pictures, expected, spec, together)
        except ModelError as error:
            refusal = error
            continue
        return written, parity, together > 1, [note] if note else []
    raise ModelError(f"what is written of it differs from it: {refusal}")


def _compare(
    written: onnx.ModelProto, pictures: Sequence[NDArray[np.uint8]], expected: Sequence[Outputs],
    spec: ModelSpec, together: int,
) -> Parity:  # fmt: skip
    """Run it as a worker with one thread does. Raises ModelError for more than is allowed."""
    session = session_of(for_cpu(written.SerializeToString(), 1))
    given = [
        (run_on(session, written, [picture]), 0, index) for index, picture in enumerate(pictures)
    ]
    if together > 1:
        batch = run_on(session, written, pictures[:together])
        given += [(batch, index, index) for index in range(together)]
    differences = []
    for output in (spec.scores_output, spec.boxes_output):
        pairs = [(outputs[output], row, expected[index][output]) for outputs, row, index in given]
        if any(got.shape[1:] != wanted.shape[1:] or len(got) <= row for got, row, wanted in pairs):
            raise ModelError("its outputs are not N x ... for several images")
        differences.append(
            max(
                float(np.abs(got[row].astype(np.float64) - wanted[0]).max())
                for got, row, wanted in pairs
            )
        )
    parity = Parity(differences[0], differences[1], len(pictures), together)
    half = any(each.data_type == TensorProto.FLOAT16 for each in written.graph.initializer)
    scores, boxes = (
        (HALF_SCORES_WITHIN, HALF_BOXES_WITHIN_PX) if half else (SCORES_WITHIN, BOXES_WITHIN_PX)
    )
    if not (parity.scores <= scores and parity.boxes_px <= boxes):
        raise ModelError(f"{parity}; {scores:g} and {boxes:g} px are allowed")
    return parity


def _describe_in(
    model: onnx.ModelProto, spec: ModelSpec, name: str, source: Path, parity: Parity
) -> None:
    """Have the file say what is known of it."""
    said = metadata_of(model) | {
        "damoscope.name": name,
        "damoscope.labels": json.dumps(spec.labels, ensure_ascii=False),
        "damoscope.input_size": json.dumps([spec.height, spec.width]),
        "damoscope.score_threshold": str(spec.score_threshold),
        "damoscope.iou_threshold": str(spec.iou_threshold),
        "damoscope.imported": json.dumps({"from": source.name, "parity": vars(parity)}),
    }
    helper.set_model_props(model, said)


def _about_labels(
    meta: dict[str, str], labels: Path | None, spec: ModelSpec, scores: NDArray[Any]
) -> list[str]:
    notes = []
    if labels is None and not {"damoscope.labels", "names"} & set(meta):
        named = "COCO's are taken, as it has 80" if len(spec.labels) == 80 else (
            f"they are called {spec.labels[0]!r} and so on; --labels FILE names them"
        )  # fmt: skip
        notes.append(f"the file names no classes: {named}")
    if scores.shape[2] == len(spec.labels) + 1:
        notes.append("it scores one class more than it has, as older checkpoints do: the last is "
                     "ignored")  # fmt: skip
    return notes


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made
