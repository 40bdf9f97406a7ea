"""What is asked of a graph's nodes, values and constants, and what is done with them."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import NodeProto, TensorProto, helper

#: All that is added to a graph has names that begin so.
PREFIX = "damoscope_"


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators."""
    versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return int(next(versions))


def constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
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


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Axis sizes as the file has them: a number, or a name (perhaps empty) of a free axis."""
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") else size.dim_param for size in sizes]
