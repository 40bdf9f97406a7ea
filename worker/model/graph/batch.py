"""A batch axis made free that an export fixed at 1.

Exporters that trace one image write its shapes into the graph: each Reshape has a constant with a 1
in it, or with the batch multiplied into its first number. Whether the graph then does for several
images what it does for one cannot be told from its nodes: it has to be run.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from worker.model.graph.nodes import PREFIX, constants, dims, drop_unused

BATCH = "batch"


def with_free_batch(model: onnx.ModelProto) -> None:
    """Have it take any number of images. What it gives for them has to be compared with what it
    gives for each: where a graph is such that this cannot work, nothing here notices."""
    graph = model.graph
    _set_batch(model, 1)
    shapes = _shapes(model)
    known = constants(graph)
    seen = _from_images(graph)
    for node in graph.node:
        if not node.input or node.input[0] not in seen:
            continue
        before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
        if node.op_type == "Reshape" and node.input[1] in known and after:
            others = np.array([-1, *after[1:]], np.int64)
            _replace(graph, node, 1, others)
        elif (
            node.op_type == "Resize" and len(node.input) == 4 and node.input[3] in known
            and before and after
        ):  # fmt: skip
            # Its sizes include the batch's; as factors they do not.
            _replace(graph, node, 2, np.array(after, np.float32) / np.array(before, np.float32))
            del node.input[3]
    del graph.value_info[:]
    _set_batch(model, BATCH)
    drop_unused(model)


def with_one_image(model: onnx.ModelProto) -> None:
    """Have the file say that it takes one image at a time."""
    del model.graph.value_info[:]
    _set_batch(model, 1)


def _replace(graph: onnx.GraphProto, node: NodeProto, index: int, values: np.ndarray) -> None:
    """Give a node a constant of its own: others may share the one that it has."""
    name = f"{PREFIX}free_{index}_of_{node.output[0]}"
    graph.initializer.append(numpy_helper.from_array(values, name))
    node.input[index] = name


def _from_images(graph: onnx.GraphProto) -> set[str]:
    """Names of the values that are computed from the images, rather than from their shape."""
    weights = {tensor.name for tensor in graph.initializer}
    seen = {value.name for value in graph.input if value.name not in weights}
    for node in graph.node:
        if node.op_type != "Shape" and seen.intersection(node.input):
            seen.update(node.output)
    return seen


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Shapes of the values for one image, where all axes of them are known."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        shape = dims(value)
        if shape and all(isinstance(size, int) and size > 0 for size in shape):
            found[value.name] = [int(size) for size in shape]
    return found


def _set_batch(model: onnx.ModelProto, batch: int | str) -> None:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape
        if value.name in weights or not shape.dim:
            continue
        first = shape.dim[0]
        if isinstance(batch, int):
            first.dim_value = batch
        else:
            first.dim_param = batch
