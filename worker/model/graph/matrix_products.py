"""Products with a vector, computed as products with a matrix."""

from __future__ import annotations

import onnx
from onnx import NodeProto, TensorProto, helper

from worker.model.graph.nodes import PREFIX, constants, opset

#: Since this opset, Squeeze and Unsqueeze take their axes as an input.
AXES_AS_INPUT = 13


def with_matrix_products(model: onnx.ModelProto) -> None:
    """Have a product with a constant vector of K numbers computed as one with a K x 1 matrix.

    DAMO-YOLO's head takes the mean over its bins so, once for each side of each box. ONNX Runtime's
    CPU provider has no kernel for it and multiplies row by row, a tenth of Ns's inference; of a
    matrix it makes one product. The numbers are the same but for rounding.
    """
    graph = model.graph
    version = opset(model)
    vectors = {name for name, tensor in constants(graph).items() if len(tensor.dims) == 1}
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


def _along(graph: onnx.GraphProto, kind: str, source: str, target: str, axis: int,
           version: int) -> NodeProto:  # fmt: skip
    """A node that adds or drops one axis, in the form that the opset wants."""
    if version < AXES_AS_INPUT:
        return helper.make_node(kind, [source], [target], axes=[axis])
    axes = f"{PREFIX}axis_{axis}"
    if all(tensor.name != axes for tensor in graph.initializer):
        graph.initializer.append(helper.make_tensor(axes, TensorProto.INT64, [1], [axis]))
    return helper.make_node(kind, [source, axes], [target])
