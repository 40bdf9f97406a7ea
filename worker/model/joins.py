"""Convolutions of maps that are joined by their channels, as sums of convolutions of each map.

ONNX Runtime's CPU provider keeps maps in groups of 16 channels. Where DAMO-YOLO's neck joins maps
of 20 or 40, it puts each of them into plain order, joins them, and groups them anew for the
convolutions behind. The sum is the same but for rounding, and every map stays as it was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import ceil

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from worker.model.graph import PREFIX, attribute, dims, drop_unused
from worker.model.parts import ALIGNED

#: Groups are filled up with zeros: joins stay where a sum would have this many times the channels.
FILLED_MAX = 1.125


def without_joins(serialized: bytes) -> bytes:
    """The model without those Concat nodes for which the CPU provider regroups channels."""
    model = onnx.ModelProto.FromString(serialized)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes = _shapes(model)
    users: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    outputs = {value.name for value in graph.output}
    instead: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        joined = node.output[0]
        if node.op_type != "Concat" or attribute(node, "axis", 0) != 1 or joined in outputs:
            continue
        channels = [shapes.get(name, 0) for name in node.input]
        if _worth(channels) and all(_sums(user, joined, constants) for user in users[joined]):
            instead[joined] = []
            for user in users[joined]:
                instead[user.output[0]] = _sum(graph, user, node, channels, constants)
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes += instead.get(node.output[0], [node])
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(model)
    model.ir_version = max(model.ir_version, 4)  # before, all weights had to be inputs as well
    made: bytes = model.SerializeToString()
    return made


def _shapes(model: onnx.ModelProto) -> dict[str, int]:
    """Channels of the maps whose number of channels is known."""
    found = {}
    for value in onnx.shape_inference.infer_shapes(model).graph.value_info:
        sizes = dims(value)
        if len(sizes) == 4 and isinstance(sizes[1], int):
            found[value.name] = sizes[1]
    return found


def _worth(channels: Sequence[int]) -> bool:
    """Whether all channels are known, some do not fill their group, and little is filled up."""
    if not all(channels) or not any(each % ALIGNED for each in channels):
        return False
    return sum(map(_filled, channels)) <= FILLED_MAX * _filled(sum(channels))


def _filled(channels: int) -> int:
    return ALIGNED * ceil(channels / ALIGNED)


def _sums(user: NodeProto, joined: str, constants: dict[str, TensorProto]) -> bool:
    """Whether a user of joined maps is a convolution that is a sum over their channels."""
    return (
        user.op_type == "Conv"
        and user.input[0] == joined
        and attribute(user, "group", 1) == 1
        and all(name in constants for name in user.input[1:])
    )


def _sum(graph: onnx.GraphProto, conv: NodeProto, join: NodeProto, channels: Sequence[int],
         constants: dict[str, TensorProto]) -> list[NodeProto]:  # fmt: skip
    """Nodes that add up the convolutions of each of the joined maps."""
    weights = numpy_helper.to_array(constants[conv.input[1]])
    whole = conv.output[0]
    nodes: list[NodeProto] = []
    total, start = "", 0
    for index, (source, count) in enumerate(zip(join.input, channels, strict=True)):
        kernel = numpy_helper.from_array(
            np.ascontiguousarray(weights[:, start : start + count]),
            f"{PREFIX}weights_of_{index}_in_{whole}",
        )
        graph.initializer.append(kernel)
        start += count
        part = NodeProto()
        part.CopyFrom(conv)
        part.name = value = f"{PREFIX}{index}_in_{whole}"
        del part.input[:], part.output[:]
        part.input.extend([source, kernel.name, *(conv.input[2:] if index == 0 else [])])
        part.output.append(value)
        nodes.append(part)
        if index:
            last = index == len(channels) - 1
            value = whole if last else f"{PREFIX}sum_to_{index}_in_{whole}"
            nodes.append(helper.make_node("Add", [part.name, total], [value], name=value))
        total = value
    return nodes
