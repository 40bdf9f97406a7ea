"""What an ONNX file must be to run here, and what the stages need to know of it.

DAMO-YOLO exports (tinyvision/DAMO-YOLO, Apache-2.0) take RGB images, float32,
N x 3 x H x W with values 0..255, and give class scores N x A x C (already sigmoid)
and boxes N x A x 4 (xyxy in input pixels, already decoded), without NMS. Names and
order differ between exports; the last axis tells the two outputs apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto

from models.store import VERSION_DIGITS, InstalledModel, sha256_of
from pipeline.errors import ModelError
from worker.model.files import read
from worker.model.graph import IMAGE_INPUT, takes_images, with_uint8_input
from worker.model.graph.nodes import dims
from worker.model.graph.order import in_order
from worker.model.metadata import all_labels, entry, labels_in, read_labels, size, threshold
from worker.model.outputs import STRIDES, tell

#: Score and IoU thresholds where neither model nor settings name any.
SCORE_THRESHOLD, IOU_THRESHOLD = 0.4, 0.65

FLOATS = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16"}


@dataclass(frozen=True)
class Graph:
    """A checked ONNX graph, adapted: it takes uint8 N x H x W x 3 named `graph.IMAGE_INPUT`."""

    path: Path
    serialized: bytes
    metadata: dict[str, str]
    #: Input height and width in pixels.
    height: int
    width: int
    #: False when the export fixed the batch axis at 1.
    free_batch: bool
    #: What tells two files of one name apart: the first digits of the file's SHA-256.
    version: str


@dataclass(frozen=True)
class ModelSpec:
    """All that the stages need to know of a model."""

    name: str
    version: str
    labels: tuple[str, ...]
    height: int
    width: int
    #: Index of each output among the two.
    scores_output: int
    boxes_output: int
    score_threshold: float
    iou_threshold: float


def load(path: Path) -> Graph:
    """Read a model, check its input, and have it take images. Raises ModelError saying what is
    wrong with it."""
    model = readable(path)
    metadata = metadata_of(model)
    try:
        batch, height, width = image_input(model, metadata)
        check_output_count(model)
    except ModelError as error:
        raise ModelError(f"{path}: not a DAMO-YOLO export: {error}") from error
    if not takes_images(model):
        with_uint8_input(model)
    return Graph(
        path, model.SerializeToString(), metadata, height, width, free_batch=batch is None,
        version=sha256_of(path)[:VERSION_DIGITS],
    )  # fmt: skip


def readable(path: Path) -> onnx.ModelProto:
    """The model in a file, with its weights and its nodes in order. Raises ModelError."""
    if not path.is_file():
        what = "no file, but a folder, pipe or device" if path.exists() else "no such model file"
        raise ModelError(f"{path}: {what}; an ONNX file is wanted (DAMOSCOPE_MODEL, --model)")
    try:
        model = read(path)
        _check_versions(model)
        in_order(model.graph)
        onnx.checker.check_model(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except DecodeError as error:
        raise ModelError(
            f"{path}: not a readable ONNX model: it was cut short, is damaged, or is something else"
        ) from error
    except Exception as error:  # onnx raises protobuf's, its own and OS errors
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable ONNX model: {first}") from error
    return model


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """What the file says of itself."""
    return {item.key: item.value for item in model.metadata_props}


def describe(
    graph: Graph,
    outputs: Sequence[NDArray[Any]],
    labels_file: Path | None,
    installed: InstalledModel | None = None,
) -> ModelSpec:
    """Tell what the two outputs are, from what one test picture gave.

    What is known of an installed model stands over what its file says, and a labels file over both.
    Raises ModelError saying what is wrong with the model, or with the labels file.
    """
    try:
        scores, boxes = tell(outputs, graph.height, graph.width)
    except ModelError as error:
        raise ModelError(f"{graph.path}: not a DAMO-YOLO export: {error}") from error
    try:
        score = entry(graph.metadata, "damoscope.score_threshold", threshold)
        iou = entry(graph.metadata, "damoscope.iou_threshold", threshold)
        name, given = graph.metadata.get("damoscope.name", graph.path.stem), None
        if installed is not None:
            name, given = installed.name, installed.facts.labels
            score, iou = installed.facts.score_threshold, installed.facts.iou_threshold
        if labels_file is not None:
            given = read_labels(labels_file)
        elif given is None:
            given = labels_in(graph.metadata)
        labels = all_labels(given, outputs[scores].shape[2])
    except ModelError as error:
        raise ModelError(f"{graph.path}: {error}") from error
    return ModelSpec(
        name=name,
        version=graph.version,
        labels=labels,
        height=graph.height,
        width=graph.width,
        scores_output=scores,
        boxes_output=boxes,
        score_threshold=SCORE_THRESHOLD if score is None else score,
        iou_threshold=IOU_THRESHOLD if iou is None else iou,
    )


def image_input(model: onnx.ModelProto, meta: dict[str, str]) -> tuple[int | None, int, int]:
    """Batch size (None when free), height and width of the one image input."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        raise ModelError(f"it has {len(inputs)} inputs, not one")
    axes = _axes(inputs[0])
    kind = inputs[0].type.tensor_type.elem_type
    if inputs[0].name == IMAGE_INPUT and kind == TensorProto.UINT8 and len(axes) == 4:
        axes = [axes[index] for index in (0, 3, 1, 2)]  # an imported file: it takes N x H x W x 3
    elif kind not in FLOATS:
        raise ModelError(f"its input is {TensorProto.DataType.Name(kind)}, not FLOAT or FLOAT16")
    if len(axes) != 4 or axes[1] != 3:
        raise ModelError(f"its input is {_show(axes)}, not N x 3 x H x W")
    batch, _, height, width = axes
    if batch not in (None, 1):
        raise ModelError(f"its batch axis is fixed at {batch}; export with a free one, or with 1")
    if height is None or width is None:
        given = entry(meta, "damoscope.input_size", size)
        if given is None:
            raise ModelError(
                "its input height and width are free; export with a fixed size, or put "
                '"[H, W]" under the metadata key damoscope.input_size'
            )
        height, width = given
    if height % STRIDES[-1] or width % STRIDES[-1]:
        raise ModelError(f"its input of {height} x {width} is not a multiple of {STRIDES[-1]}")
    return batch, height, width


def check_output_count(model: onnx.ModelProto) -> None:
    """Raises ModelError for anything but two outputs, with what the file seems to be instead."""
    outputs = [value.name for value in model.graph.output]
    if len(outputs) == 2:
        return
    hint = "export it without NMS (end2end)"
    if len(outputs) == 2 * len(STRIDES):
        hint = (
            "scores and distances of each level apart, neither joined nor decoded, are what an "
            "export for benchmarks (--benchmark) gives; export it without that"
        )
    elif len(outputs) == 1:
        hint = "one output is what other detectors give, or an export with NMS inside; " + hint
    raise ModelError(
        f"it has {len(outputs)} outputs, not two (class scores and boxes): "
        f"{', '.join(outputs[:8])}; {hint}"
    )


def _check_versions(model: onnx.ModelProto) -> None:
    """Raises ModelError for a file that is newer than what reads it."""
    known = onnx.defs.onnx_opset_version()
    used = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")),
               default=0)  # fmt: skip
    if used > known or model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"it is of ONNX opset {used} (IR {model.ir_version}), newer than opset {known} "
            f"(IR {onnx.IR_VERSION}), the newest that is known here; export it with "
            "opset_version=17, or update damoscope"
        )


def _axes(value: onnx.ValueInfoProto) -> list[int | None]:
    """Axis sizes; None where an axis is free."""
    return [dim if isinstance(dim, int) and dim > 0 else None for dim in dims(value)]


def _show(axes: Sequence[int | None]) -> str:
    return " x ".join("?" if axis is None else str(axis) for axis in axes) or "a scalar"
