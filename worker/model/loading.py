"""What an ONNX file must be to run here, and what the stages need to know of it.

DAMO-YOLO exports (tinyvision/DAMO-YOLO, Apache-2.0) take RGB images, float32,
N x 3 x H x W with values 0..255, and give class scores N x A x C (already sigmoid)
and boxes N x A x 4 (xyxy in input pixels, already decoded), without NMS. Names and
order differ between exports; the last axis tells the two outputs apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from pipeline.errors import ConfigurationError, ModelError
from worker.model.coco import COCO
from worker.model.files import read
from worker.model.graph import with_uint8_input
from worker.model.graph.nodes import dims

#: Strides of the three feature maps; A is the number of their cells together.
STRIDES = (8, 16, 32)
#: Score and IoU thresholds where neither model nor settings name any.
SCORE_THRESHOLD, IOU_THRESHOLD = 0.4, 0.65

Value = TypeVar("Value")

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


@dataclass(frozen=True)
class ModelSpec:
    """All that the stages need to know of a model."""

    name: str
    labels: tuple[str, ...]
    height: int
    width: int
    #: Index of each output among the two.
    scores_output: int
    boxes_output: int
    score_threshold: float
    iou_threshold: float


def load(path: Path) -> Graph:
    """Read a model and check its input. Raises ModelError saying what is wrong with it."""
    if not path.is_file():
        what = "no file, but a folder, pipe or device" if path.exists() else "no such model file"
        raise ModelError(f"{path}: {what}; set DAMOSCOPE_MODEL to an ONNX file")
    try:
        model = read(path)
        onnx.checker.check_model(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # onnx raises protobuf's, its own and OS errors
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a readable ONNX model: {first}") from error
    metadata = {item.key: item.value for item in model.metadata_props}
    try:
        batch, height, width = _input(model, metadata)
        if len(model.graph.output) != 2:
            raise ModelError(
                f"it has {len(model.graph.output)} outputs, not two (class scores and boxes); "
                "export it without NMS (end2end)"
            )
    except ModelError as error:
        raise ModelError(f"{path}: not a DAMO-YOLO export: {error}") from error
    with_uint8_input(model)
    return Graph(path, model.SerializeToString(), metadata, height, width, free_batch=batch is None)


def describe(graph: Graph, outputs: Sequence[NDArray[Any]], labels_file: Path | None) -> ModelSpec:
    """Tell what the two outputs are, from what one image gave.

    Shapes are taken from a real run because many exports leave them open in the file.
    Raises ModelError saying what is wrong with the model, or with the labels file.
    """
    try:
        scores, boxes = _outputs([array.shape for array in outputs], graph)
        values = outputs[scores]
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            raise ModelError("its scores leave 0..1; export them after the sigmoid")
    except ModelError as error:
        raise ModelError(f"{graph.path}: not a DAMO-YOLO export: {error}") from error
    try:
        score = _metadata(graph.metadata, "damoscope.score_threshold", _threshold)
        iou = _metadata(graph.metadata, "damoscope.iou_threshold", _threshold)
        given = (
            _metadata(graph.metadata, "damoscope.labels", _names)
            if labels_file is None
            else _read_labels(labels_file)
        )
        labels = _labels(given, values.shape[2])
    except ModelError as error:
        raise ModelError(f"{graph.path}: {error}") from error
    return ModelSpec(
        name=graph.metadata.get("damoscope.name", graph.path.stem),
        labels=labels,
        height=graph.height,
        width=graph.width,
        scores_output=scores,
        boxes_output=boxes,
        score_threshold=SCORE_THRESHOLD if score is None else score,
        iou_threshold=IOU_THRESHOLD if iou is None else iou,
    )


def _input(model: onnx.ModelProto, meta: dict[str, str]) -> tuple[int | None, int, int]:
    """Batch size (None when free), height and width of the one image input."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        raise ModelError(f"it has {len(inputs)} inputs, not one")
    axes = _axes(inputs[0])
    kind = inputs[0].type.tensor_type.elem_type
    if kind not in FLOATS:
        raise ModelError(f"its input is {TensorProto.DataType.Name(kind)}, not FLOAT or FLOAT16")
    if len(axes) != 4 or axes[1] != 3:
        raise ModelError(f"its input is {_show(axes)}, not N x 3 x H x W")
    batch, _, height, width = axes
    if batch not in (None, 1):
        raise ModelError(f"its batch axis is fixed at {batch}; export with a free one, or with 1")
    if height is None or width is None:
        size = _metadata(meta, "damoscope.input_size", _size)
        if size is None:
            raise ModelError(
                "its input height and width are free; export with a fixed size, or put "
                '"[H, W]" under the metadata key damoscope.input_size'
            )
        height, width = size
    if height % STRIDES[-1] or width % STRIDES[-1]:
        raise ModelError(f"its input of {height} x {width} is not a multiple of {STRIDES[-1]}")
    return batch, height, width


def _outputs(shapes: Sequence[tuple[int, ...]], graph: Graph) -> tuple[int, int]:
    """Index of the scores and of the boxes output: by the last axis, else by order."""
    anchors = anchor_count(graph.height, graph.width)
    for shape in shapes:
        if len(shape) != 3 or shape[1] != anchors:
            raise ModelError(
                f"an output is {_show(shape)}, not N x {anchors} x ..., as a DAMO-YOLO of "
                f"{graph.height} x {graph.width} gives"
            )
    fours = [index for index, shape in enumerate(shapes) if shape[2] == 4]
    if not fours:
        raise ModelError(f"neither {' nor '.join(map(_show, shapes))} ends in 4 (boxes)")
    return 1 - fours[-1], fours[-1]


def anchor_count(height: int, width: int) -> int:
    """A: 8400 at 640 x 640, 3549 at 416 x 416."""
    return sum((height // stride) * (width // stride) for stride in STRIDES)


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"DAMOSCOPE_LABELS={path}: cannot be read: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def _labels(given: tuple[str, ...] | None, channels: int) -> tuple[str, ...]:
    if given is None:
        if channels in (len(COCO), len(COCO) + 1):
            return COCO
        return tuple(f"class {index}" for index in range(channels))
    # "Legacy" checkpoints have one score more than classes; the last is unused.
    if not given or len(given) not in (channels, channels - 1):
        raise ModelError(f"it scores {channels} classes, but {len(given)} labels are given")
    return given


def _metadata(meta: dict[str, str], key: str, read: Callable[[str], Value]) -> Value | None:
    """What the model's metadata says under `key`; None when it says nothing."""
    if key not in meta:
        return None
    try:
        return read(meta[key])
    except (TypeError, ValueError) as error:
        raise ModelError(f"its metadata {key}={meta[key]} cannot be read: {error}") from error


def _size(text: str) -> tuple[int, int]:
    height, width = map(int, json.loads(text))
    if height < 1 or width < 1:
        raise ValueError("sizes are positive")
    return height, width


def _threshold(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("thresholds are between 0 and 1")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("not a list of names")
    return tuple(names)


def _axes(value: onnx.ValueInfoProto) -> list[int | None]:
    """Axis sizes; None where an axis is free."""
    return [dim if isinstance(dim, int) and dim > 0 else None for dim in dims(value)]


def _show(axes: Sequence[int | None]) -> str:
    return " x ".join("?" if axis is None else str(axis) for axis in axes) or "a scalar"
