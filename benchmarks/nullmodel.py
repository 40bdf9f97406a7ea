"""A DAMO-YOLO that costs next to nothing, and a small photo to give it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIZE = 64
ANCHORS = sum((SIZE // stride) ** 2 for stride in (8, 16, 32))


def save_model(path: Path) -> Path:
    """Scores and boxes that do not depend on the image: one box above the threshold."""
    scores = np.full((1, ANCHORS, 1), 0.01, np.float32)
    scores[0, 0, 0] = 0.9
    # Each holds its anchor point, as workers expect of DAMO-YOLO.
    points = [(column * stride, row * stride) for stride in (8, 16, 32)
              for row in range(SIZE // stride) for column in range(SIZE // stride)]  # fmt: skip
    boxes = np.array([points], np.float32)[..., [0, 1, 0, 1]] + np.float32([-8, -8, 8, 8])
    boxes[0, 0] = [8, 8, 40, 40]
    nodes = [
        # Once an image, so that a batch has as many outputs as images.
        helper.make_node("ReduceMax", ["images"], ["each"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["each", "axis"], ["row"]),
        helper.make_node("Mul", ["row", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "some_scores"], ["scores"]),
        helper.make_node("Add", ["nothing", "some_boxes"], ["boxes"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "axis": np.array([3], np.int64),
        "zero": np.zeros(1, np.float32),
        "some_scores": scores,
        "some_boxes": boxes,
    }
    graph = helper.make_graph(
        nodes,
        "null",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", ANCHORS, width])
            for name, width in (("scores", 1), ("boxes", 4))
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def photo() -> bytes:
    """160 x 120 pixels of noise, as a JPEG."""
    small = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((160, 120)).save(buffer, "JPEG")
    return buffer.getvalue()
