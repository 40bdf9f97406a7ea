"""What is changed in a model's graph before it runs: nothing that its detections would show."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

#: Name of the uint8 input that `with_uint8_input` puts in front of the graph.
IMAGE_INPUT = "damoscope_images"
#: All that is added has names that begin so.
PREFIX = "damoscope_"


def adapted(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` as workers run it, on every provider."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with_uint8_input(copy)
    with_matrix_products(copy)
    return copy


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


def with_matrix_products(model: onnx.ModelProto) -> None:
    """Have a product with a constant vector of K numbers computed as one with a K x 1 matrix.

    The head of DAMO-YOLO takes the mean of a distribution, A x 4 x K, by such a product. ONNX
    Runtime's CPU provider has no kernel for it and multiplies row by row, which takes a tenth
    of Ns's inference; of a matrix it makes one product. The numbers are the same but for rounding.
    """
    graph = model.graph
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    vectors = _vectors(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in vectors:
            nodes.append(node)
            continue
        left, vector = node.input
        matrix, column = (f"{PREFIX}{part}_of_{node.output[0]}" for part in ("matrix", "column"))
        nodes += [
            _shape_node(graph, "Unsqueeze", vector, matrix, 1, version),
            helper.make_node("MatMul", [left, matrix], [column], name=node.name),
            _shape_node(graph, "Squeeze", column, node.output[0], -1, version),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def _vectors(graph: onnx.GraphProto) -> set[str]:
    """Names of the constants that have one axis."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensors[node.output[0]] = attribute.t
    return {name for name, tensor in tensors.items() if len(tensor.dims) == 1}


def _shape_node(
    graph: onnx.GraphProto, kind: str, source: str, target: str, axis: int, version: int
) -> onnx.NodeProto:
    """A Squeeze or an Unsqueeze; since opset 13 they take their axes as an input."""
    if version < 13:
        return helper.make_node(kind, [source], [target], axes=[axis])
    axes = f"{PREFIX}axis_{axis}"
    if all(tensor.name != axes for tensor in graph.initializer):
        graph.initializer.append(helper.make_tensor(axes, TensorProto.INT64, [1], [axis]))
    return helper.make_node(kind, [source, axes], [target])


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Axis sizes as the file has them: a number, or a name (perhaps empty) of a free axis."""
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") else size.dim_param for size in sizes]
