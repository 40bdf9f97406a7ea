"""What is changed in a model's graph before it runs: nothing that its detections would show."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

#: Name of the uint8 input that `with_uint8_input` puts in front of the graph.
IMAGE_INPUT = "damoscope_images"
#: All that is added has names that begin so.
PREFIX = "damoscope_"


def adapted(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` as workers run it, on every provider."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with_uint8_input(copy)
    with_planar_integrals(copy)
    with_matrix_products(copy)
    with_gathered_rows(copy)
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


def with_planar_integrals(model: onnx.ModelProto) -> None:
    """Have the distances of boxes to their anchors computed for all anchors at once.

    DAMO-YOLO's head gives each distance as a distribution over K bins (generalized focal loss,
    arXiv:2006.04388), N x 4 x K x A, and takes Softmax and mean over rows of K = 8 numbers of
    N x A x 4 x K. ONNX Runtime's CPU provider needs 0.3 ms for so many short rows; with A numbers
    in a row it needs 0.1. The values are the same but for rounding.
    """
    graph = model.graph
    version = _opset(model)
    constants = _constants(graph)
    made_by = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    gone: set[str] = set()
    instead: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        bins = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        softmax = made_by.get(node.input[0]) if bins is not None and len(bins.dims) == 1 else None
        transpose = made_by.get(softmax.input[0]) if softmax is not None else None
        if (
            bins is not None
            and softmax is not None
            and transpose is not None
            and _is_softmax_of_rows(softmax, version)
            and transpose.op_type == "Transpose"
            and attribute(transpose, "perm", None) == [0, 3, 1, 2]
            and uses[softmax.output[0]] == uses[transpose.output[0]] == 1
        ):
            gone |= {softmax.output[0], transpose.output[0]}
            whole = node.output[0]
            instead[whole] = _integral(graph, transpose.input[0], bins, whole, version)
            # Nobody could tell the shape: the nodes before reshape to one that they compute.
            shape = helper.make_tensor_value_info(whole, bins.data_type, [None] * 3)
            graph.value_info.append(shape)
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.output[0] not in gone:
            nodes += instead.get(node.output[0], [node])
    del graph.node[:]
    graph.node.extend(nodes)


def _is_softmax_of_rows(node: NodeProto, version: int) -> bool:
    """Whether a node is a Softmax along the last of four axes."""
    default = -1 if version >= 13 else 1
    return node.op_type == "Softmax" and attribute(node, "axis", default) in (-1, 3)


def _integral(graph: onnx.GraphProto, source: str, bins: TensorProto, target: str,
              version: int) -> list[NodeProto]:  # fmt: skip
    """Nodes from N x 4 x K x A to the means of the distributions over K, N x A x 4."""
    weights = numpy_helper.to_array(bins)[None]
    name = {
        part: f"{PREFIX}{part}_of_{target}"
        for part in ("most", "below", "powers", "ones", "bins", "sum", "weighted", "mean", "turned")
    }
    graph.initializer.append(numpy_helper.from_array(weights, name["bins"]))
    graph.initializer.append(numpy_helper.from_array(np.ones_like(weights), name["ones"]))
    return [
        _along(graph, "ReduceMax", source, name["most"], 2, version, keepdims=1),
        helper.make_node("Sub", [source, name["most"]], [name["below"]]),
        helper.make_node("Exp", [name["below"]], [name["powers"]]),
        helper.make_node("MatMul", [name["ones"], name["powers"]], [name["sum"]]),
        helper.make_node("MatMul", [name["bins"], name["powers"]], [name["weighted"]]),
        helper.make_node("Div", [name["weighted"], name["sum"]], [name["mean"]]),
        helper.make_node("Transpose", [name["mean"]], [name["turned"]], perm=[0, 3, 1, 2]),
        _along(graph, "Squeeze", name["turned"], target, -1, version),
    ]


def with_matrix_products(model: onnx.ModelProto) -> None:
    """Have a product with a constant vector of K numbers computed as one with a K x 1 matrix.

    ONNX Runtime's CPU provider has no kernel for it and multiplies row by row, which takes a tenth
    of Ns's inference where a head's mean over bins is such a product and was not replaced above;
    of a matrix it makes one product. The numbers are the same but for rounding.
    """
    graph = model.graph
    version = _opset(model)
    vectors = {name for name, tensor in _constants(graph).items() if len(tensor.dims) == 1}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in vectors:
            nodes.append(node)
            continue
        left, vector = node.input
        matrix, column = (f"{PREFIX}{part}_of_{node.output[0]}" for part in ("matrix", "column"))
        nodes += [
            _along(graph, "Unsqueeze", vector, matrix, 1, version),
            helper.make_node("MatMul", [left, matrix], [column], name=node.name),
            _along(graph, "Squeeze", column, node.output[0], -1, version),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def with_gathered_rows(model: onnx.ModelProto) -> None:
    """Have the columns of N x A x 4 gathered as rows of 4 x N x A, which lie together.

    The head takes the four distances of all anchors one column at a time: 0.03 ms each, where
    turning all takes 0.01. The values are the same bit by bit.
    """
    graph = model.graph
    constants = _constants(graph)
    columns: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        if node.op_type == "Gather" and attribute(node, "axis", 0) == 2:
            index = constants.get(node.input[1])
            if index is not None and not index.dims:  # a single column leaves two axes of three
                columns[node.input[0]].append(node)
    known = onnx.shape_inference.infer_shapes(model).graph
    three = {value.name for value in (*known.value_info, *known.output) if len(dims(value)) == 3}
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        source = node.output[0]
        if source in three and len(columns[source]) > 1:
            turned = f"{PREFIX}turned_{source}"
            nodes.append(helper.make_node("Transpose", [source], [turned], perm=[2, 0, 1]))
            for gather in columns[source]:
                gather.input[0] = turned
                next(each for each in gather.attribute if each.name == "axis").i = 0
    del graph.node[:]
    graph.node.extend(nodes)


def _opset(model: onnx.ModelProto) -> int:
    versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return int(next(versions))


def _constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    """Constants by name, whether they are initializers or nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and (value := attribute(node, "value", None)) is not None:
            found[node.output[0]] = value
    return found


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default where the node has none of that name."""
    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default


def drop_unused(model: onnx.ModelProto) -> None:
    """Take out constants that no node uses; old exports list them among the inputs as well."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    unused = {tensor.name for tensor in graph.initializer} - used
    for values in (graph.initializer, graph.input):
        kept = [value for value in values if value.name not in unused]
        del values[:]
        values.extend(kept)


#: Since which opset nodes that work along axes take these as an input.
_AXES_AS_INPUT = {"Squeeze": 13, "Unsqueeze": 13, "ReduceMax": 18}


def _along(graph: onnx.GraphProto, kind: str, source: str, target: str, axis: int,
           version: int, **attributes: Any) -> NodeProto:  # fmt: skip
    """A node that works along one axis, in the form that the opset wants."""
    if version < _AXES_AS_INPUT[kind]:
        return helper.make_node(kind, [source], [target], axes=[axis], **attributes)
    axes = f"{PREFIX}axis_{axis}"
    if all(tensor.name != axes for tensor in graph.initializer):
        graph.initializer.append(helper.make_tensor(axes, TensorProto.INT64, [1], [axis]))
    return helper.make_node(kind, [source, axes], [target], **attributes)


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Axis sizes as the file has them: a number, or a name (perhaps empty) of a free axis."""
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") else size.dim_param for size in sizes]
