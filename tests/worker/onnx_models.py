"""Tiny ONNX files that imitate the exports of DAMO-YOLO, and files that are not.

Each pools the image to the three feature maps and makes scores and boxes of them, so that
outputs follow the pixels and have the shapes of a real export.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: A small input that keeps the strides of DAMO-YOLO: 84 anchors.
SIZE = 64


@dataclass
class Export:
    """How a model is exported; the defaults are upstream's, with a free batch axis."""

    classes: int = 3
    #: None for a free axis.
    batch: int | None = None
    height: int | None = SIZE
    width: int | None = SIZE
    #: The size that it is made for where the file leaves it free.
    runs_at: tuple[int, int] = (SIZE, SIZE)
    input_type: int = TensorProto.FLOAT
    names: tuple[str, str] = ("output", "1021")
    boxes_first: bool = False
    strides: tuple[int, ...] = (8, 16, 32)
    metadata: dict[str, str] = field(default_factory=dict)
    #: Fails on images whose brightest pixel is above 250, as a broken kernel might.
    fails_on_white: bool = False
    #: Counts to a million millions first on images whose brightest pixel is above 250.
    stalls_on_white: bool = False
    #: Outputs 1 x (N * A) x C, as exports do whose batch axis is free in name only.
    ignores_batch: bool = False
    #: Reshapes as a trace of one image has them: with its shapes in them, the batch merged once.
    traced: bool = False
    #: Each image gets the outputs of all images' mean.
    mixes_batch: bool = False
    #: Multiplied with each box (x1, y1, x2, y2), for other ways to write it.
    boxes_matrix: np.ndarray[Any, Any] | None = None
    #: How often the sigmoid is taken.
    sigmoids: int = 1
    #: NaN comes of dark pixels.
    overflows: bool = False

    def model(self) -> onnx.ModelProto:
        nodes: list[onnx.NodeProto] = []
        constants: dict[str, np.ndarray[Any, Any]] = {}
        outputs = ["scores", "boxes"]
        channels = {"scores": self.classes, "boxes": 4}
        rng = np.random.default_rng(7)

        def add(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
            nodes.append(helper.make_node(op, inputs, [output], **attributes))
            return output

        def constant(name: str, value: np.ndarray[Any, Any]) -> str:
            constants[name] = value
            return name

        image = add("Cast", ["images"], "float_images", to=TensorProto.FLOAT)
        if self.fails_on_white:
            image = self._failing(add, constant, image)
        if self.stalls_on_white:
            image = self._stalling(add, constant, image)
        if self.mixes_batch:
            mean = add("ReduceMean", [image], "mean_image", axes=[0], keepdims=1)
            image = add("Add", [mean, add("Sub", [image, image], "nothing")], "mixed_images")
        if self.overflows:
            dark = add("Sub", [image, constant("dark", np.array(5, np.float32))], "above_dark")
            none = add("Sub", [add("Log", [dark], "log"), "log"], "no_log")
            image = add("Add", [image, none], "logged")
        for name in outputs:
            weights = rng.uniform(0, 1, (channels[name], 3, 1, 1))
            if name == "boxes":  # distances to its sides, a few pixels
                weights = weights * 0.02
            kernel = constant(f"{name}_weights", weights.astype(np.float32))
            levels = []
            for stride in self.strides:
                pooled = add(
                    "AveragePool",
                    [image],
                    f"{name}_{stride}",
                    kernel_shape=[stride, stride],
                    strides=[stride, stride],
                )
                mixed = add("Conv", [pooled, kernel], f"{pooled}_mixed")
                shape = [1 if self.ignores_batch else 0, channels[name], -1]
                if self.traced:
                    cells = (self.height or 0) // stride * ((self.width or 0) // stride)
                    merged = constant(f"{pooled}_merged", np.array([channels[name], -1], np.int64))
                    mixed = add("Reshape", [mixed, merged], f"{pooled}_merged_flat")
                    shape = [1, channels[name], cells]
                flat = constant(f"{pooled}_shape", np.array(shape, np.int64))
                levels.append(add("Reshape", [mixed, flat], f"{pooled}_flat"))
            joined = add("Concat", levels, f"{name}_joined", axis=2)
            add("Transpose", [joined], f"{name}_raw", perm=[0, 2, 1])
        add("Add", ["scores_raw", constant("middle", np.array(-100, np.float32))], "centred")
        add("Mul", ["centred", constant("slope", np.array(0.02, np.float32))], "logits")
        scores = "logits"
        for turn in range(self.sigmoids):
            scores = add("Sigmoid", [scores], f"sigmoid_{turn}")
        add("Identity", [scores], "scores")
        away = constant("away", np.array([-1, -1, 1, 1], np.float32))
        around = add("Mul", ["boxes_raw", away], "around")
        boxes = add("Add", [around, constant("points", self._points())], "corners")
        if self.boxes_matrix is not None:
            matrix = constant("matrix", self.boxes_matrix.astype(np.float32))
            boxes = add("MatMul", [boxes, matrix], "rewritten")
        add("Identity", [boxes], "boxes")
        if self.boxes_first:
            outputs.reverse()
        for inner, outer in zip(outputs, self.names, strict=True):
            add("Identity", [inner], outer)
        shape_in = [self.batch or "batch", 3, self.height or "height", self.width or "width"]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("images", self.input_type, shape_in)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 3)
                for name in self.names
            ],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )
        return finish(graph, self.metadata)

    def _points(self) -> np.ndarray[Any, Any]:
        """The point of each box twice, 1 x A x 4, as upstream has them."""
        height, width = self.height or self.runs_at[0], self.width or self.runs_at[1]
        points = [
            (column * stride, row * stride)
            for stride in self.strides
            for row in range(height // stride)
            for column in range(width // stride)
        ]
        return np.array([points], np.float32)[..., [0, 1, 0, 1]]

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), str(path))
        return path

    @staticmethod
    def _failing(add: Any, constant: Any, image: str) -> str:
        """Look up row 1 of a table of one row when the brightest pixel is above 250."""
        row = _is_white(add, constant, image)
        zero = add("Gather", [constant("table", np.zeros(1, np.float32)), row], "zero")
        return str(add("Add", [image, zero], "checked"))

    @staticmethod
    def _stalling(add: Any, constant: Any, image: str) -> str:
        """Add the zero that a loop of 0 or of 10**12 turns brings."""
        most = constant("most", np.array(10**12, np.int64))
        turns = add("Mul", [_is_white(add, constant, image), most], "turns")
        scalars = [
            helper.make_tensor_value_info(name, kind, [])
            for name, kind in (("turn", TensorProto.INT64), ("goes_on", TensorProto.BOOL),
                               ("carried", TensorProto.FLOAT), ("goes_on_still", TensorProto.BOOL),
                               ("carried_on", TensorProto.FLOAT))
        ]  # fmt: skip
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["goes_on"], ["goes_on_still"]),
                helper.make_node("Abs", ["carried"], ["carried_on"]),
            ],
            "turn",
            scalars[:3],
            scalars[3:],
        )
        start = constant("start", np.array(0, np.float32))
        always = constant("always", np.array(True))
        zero = add("Loop", [turns, always, start], "looped", body=body)
        return str(add("Add", [image, zero], "waited"))


def _is_white(add: Any, constant: Any, image: str) -> str:
    """1 where the brightest pixel is above 250, else 0."""
    brightest = add("ReduceMax", [image], "brightest", keepdims=0)
    above = add("Greater", [brightest, constant("limit", np.array(250, np.float32))], "above")
    return str(add("Cast", [above], "row", to=TensorProto.INT64))


def finish(graph: onnx.GraphProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """A model of a graph, of versions that every ONNX Runtime in use can load."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model


def labelled(*labels: str) -> dict[str, str]:
    """Metadata that names the classes."""
    return {"damoscope.labels": json.dumps(labels)}


def classifier(path: Path) -> Path:
    """A classification network: one row of class scores for each image."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
    ]
    return _save(path, nodes, ["scores"], rank=2)


def end_to_end(path: Path) -> Path:
    """An export with NMS inside: number, boxes, scores and classes of the detections."""
    outputs = ["num_dets", "det_boxes", "det_scores", "det_classes"]
    return _save(path, [helper.make_node("Identity", ["images"], [name]) for name in outputs],
                 outputs, rank=4)  # fmt: skip


def _save(path: Path, nodes: list[onnx.NodeProto], outputs: list[str], rank: int) -> Path:
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name in outputs],
    )
    onnx.save(finish(graph, {}), str(path))
    return path
