"""What is changed in a model's graph before it runs: nothing that its detections would show.

Every provider gets uint8 images. On the CPU two more edits are made, each of which saves several
percent of an inference there: docs/decisions/graph-edits.md says how much, and what was dropped.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from worker.model.graph.bottlenecks import in_parts
from worker.model.graph.matrix_products import with_matrix_products
from worker.model.graph.nodes import PREFIX, dims

#: Name of the uint8 input that `with_uint8_input` puts in front of the graph.
IMAGE_INPUT = "damoscope_images"


def takes_images(model: onnx.ModelProto) -> bool:
    """Whether the graph has had `with_uint8_input` already, as an imported file has."""
    return any(value.name == IMAGE_INPUT for value in model.graph.input)


def with_uint8_input(model: onnx.ModelProto) -> None:
    """Put Transpose and Cast in front, so that the graph takes uint8 N x H x W x 3.

    The conversion then runs inside ONNX Runtime, on the provider's device, and a
    quarter of the bytes is copied there.
    """
    graph = model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    source = next(value for value in graph.input if value.name not in initializers)
    batch, _, height, width = dims(source)
    image = helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, [batch, height, width, 3])
    kind = source.type.tensor_type.elem_type
    nodes = [
        helper.make_node("Transpose", [IMAGE_INPUT], [f"{PREFIX}planar"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [f"{PREFIX}planar"], [source.name], to=kind),
        *graph.node,
    ]
    inputs = [image, *(value for value in graph.input if value.name != source.name)]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)


def for_cpu(serialized: bytes, threads: int) -> bytes:
    """The model as ONNX Runtime's CPU provider runs it quickest; the numbers are the same but for
    rounding. Blocks are taken apart for one thread alone: several share a block's channels already.
    """
    model = onnx.ModelProto.FromString(serialized)
    with_matrix_products(model)
    if threads == 1:
        in_parts(model)
    made: bytes = model.SerializeToString()
    return made
