"""Wide blocks computed a few channels at a time, so that what lies between their layers is cached.

Most of DAMO-YOLO-Ns are inverted bottlenecks (MobileNetV2, arXiv:1801.04381): a convolution of
1 x 1 to many channels, a depthwise one, and one of 1 x 1 back to few. At the large maps 15 MB lie
between them, which a core writes twice and reads twice, past its cache. Channels meet only in the
sum of the last convolution: so it is taken over parts of them, which stay near the core.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from worker.model.graph.nodes import PREFIX, attribute, dims, drop_unused

#: Blocks are taken apart whose map is larger than this, into parts of about that size.
WORTH_BYTES, PART_BYTES = 2.0e6, 1.5e6
#: Channels that ONNX Runtime's kernels compute together; a part has a multiple of them.
ALIGNED = 16
#: Activations of one input.
ACTIVATIONS = ("Relu", "LeakyRelu", "HardSwish", "Elu", "Swish")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """An inverted bottleneck: the nodes from its first convolution to its last."""

    expand: NodeProto
    first: list[NodeProto]
    depthwise: NodeProto
    second: list[NodeProto]
    project: NodeProto
    #: Axes of the map between the convolutions: channels, height, width.
    channels: int
    height: int
    width: int

    @property
    def nodes(self) -> list[NodeProto]:
        """All of them, in order."""
        return [self.expand, *self.first, self.depthwise, *self.second, self.project]

    def parts(self) -> list[tuple[int, int]]:
        """Ranges of channels that are computed together; one when the map is small."""
        size = 4 * self.channels * self.height * self.width
        if size < WORTH_BYTES:
            return [(0, self.channels)]
        step = ALIGNED * ceil(self.channels / ceil(size / PART_BYTES) / ALIGNED)
        starts = range(0, self.channels, step)
        return [(start, min(start + step, self.channels)) for start in starts]


def in_parts(model: onnx.ModelProto) -> None:
    """Compute wide blocks in parts; the numbers are the same but for rounding.

    It is for inferences on one core: threads that share one have parts of their own already.
    """
    graph = _Graph(onnx.shape_inference.infer_shapes(model))
    gone: set[str] = set()
    instead: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        block = graph.block(node)
        if not block or len(block.parts()) < 2:
            continue
        values = {inner.output[0] for inner in block.nodes}
        if not values & gone:  # the end of one block may be the beginning of another
            gone |= values
            instead[block.project.output[0]] = _Parts(model, graph, block).nodes
    nodes = []
    for node in model.graph.node:
        nodes += instead.get(node.output[0], [] if node.output[0] in gone else [node])
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused(model)
    model.ir_version = max(model.ir_version, 4)  # before, all weights had to be inputs as well


class _Graph:
    """What is asked of a model's graph here: who uses a value, its shape, its constant."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._users: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self._users[name].append(node)
        self._outputs = {value.name for value in model.graph.output}
        self._shapes = {value.name: dims(value) for value in model.graph.value_info}
        self._constants = {
            tensor.name: tensor
            for tensor in model.graph.initializer
            if tensor.data_type == TensorProto.FLOAT
        }

    def constant(self, name: str) -> Array:
        """The weights of that name."""
        return numpy_helper.to_array(self._constants[name])

    def block(self, expand: NodeProto) -> Block | None:
        """The block that begins with this node, if one does."""
        weights = self._weights(expand)
        shape = self._shapes.get(expand.output[0], [])
        if weights is None or weights[2:] != (1, 1) or _groups(expand) != 1:
            return None
        if len(shape) != 4 or not all(isinstance(size, int) and size for size in shape[1:]):
            return None
        channels, height, width = (int(size) for size in shape[1:])
        first, depthwise = self._after(expand)
        if not depthwise or _groups(depthwise) != channels:
            return None
        weights = self._weights(depthwise)
        if weights is None or weights[0] != channels:
            return None
        second, project = self._after(depthwise)
        if not project or _groups(project) != 1 or self._weights(project) is None:
            return None
        return Block(expand, first, depthwise, second, project, channels, height, width)

    def _user(self, node: NodeProto) -> NodeProto | None:
        """The one node that uses this one's value."""
        users = self._users[node.output[0]]
        return users[0] if len(users) == 1 and node.output[0] not in self._outputs else None

    def _weights(self, node: NodeProto) -> tuple[int, ...] | None:
        """Axes of a convolution's constant weights; None when it is none, or they are not."""
        if node.op_type != "Conv" or any(name not in self._constants for name in node.input[1:]):
            return None
        return tuple(self._constants[node.input[1]].dims)

    def _after(self, node: NodeProto) -> tuple[list[NodeProto], NodeProto | None]:
        """The activation that follows a node, and the node that follows the activation."""
        activation = self._activation(node)
        return activation, self._user(activation[-1]) if activation else None

    def _activation(self, node: NodeProto) -> list[NodeProto]:
        """The nodes of the activation that follows: one, or a Sigmoid and a Mul; else none."""
        value, users = node.output[0], self._users[node.output[0]]
        if value in self._outputs:
            return []
        if len(users) == 1 and users[0].op_type in ACTIVATIONS:
            return users
        pair = {user.op_type: user for user in users}
        if len(users) == 2 and set(pair) == {"Sigmoid", "Mul"}:
            sigmoid, product = pair["Sigmoid"], pair["Mul"]
            if self._user(sigmoid) is product and set(product.input) == {value, sigmoid.output[0]}:
                return [sigmoid, product]
        return []


class _Parts:
    """The nodes of a block once for each part of its channels, and the sum over the parts."""

    def __init__(self, model: onnx.ModelProto, graph: _Graph, block: Block) -> None:
        self._initializers = model.graph.initializer
        self._graph = graph
        self._block = block
        self.nodes: list[NodeProto] = []
        parts = block.parts()
        total = ""
        for index, (start, end) in enumerate(parts):
            value = self._part(index, slice(start, end))
            if index:
                whole = block.project.output[0]
                name = whole if end == block.channels else f"{PREFIX}sum_{index}_of_{whole}"
                self.nodes.append(helper.make_node("Add", [value, total], [name], name=name))
                value = name
            total = value

    def _part(self, index: int, channels: slice) -> str:
        """Add the nodes of one part. Returns the name of its value."""
        block = self._block
        renamed = {block.expand.input[0]: block.expand.input[0]}
        for node in block.nodes:
            made = NodeProto()
            made.CopyFrom(node)
            made.name = renamed[node.output[0]] = f"{PREFIX}part_{index}_of_{node.output[0]}"
            del made.input[:], made.output[:]
            made.output.append(made.name)
            if node.op_type == "Conv":
                made.input.append(renamed[node.input[0]])
                made.input.extend(self._weights(node, index, channels))
                if node is block.depthwise:
                    _set_groups(made, channels.stop - channels.start)
            else:
                made.input.extend(renamed[name] for name in node.input)
            self.nodes.append(made)
        return self.nodes[-1].name

    def _weights(self, node: NodeProto, index: int, channels: slice) -> list[str]:
        """Names of a convolution's weights and bias for some channels, which are added."""
        weights, *bias = (self._graph.constant(name) for name in node.input[1:])
        if node is self._block.project:
            weights = np.ascontiguousarray(weights[:, channels])
            bias = bias if index == 0 else []  # a sum has it once
        else:
            weights, bias = weights[channels], [values[channels] for values in bias]
        names = []
        for kind, values in zip(("weights", "bias"), (weights, *bias), strict=False):
            names.append(f"{PREFIX}{kind}_{index}_of_{node.output[0]}")
            self._initializers.append(numpy_helper.from_array(values, names[-1]))
        return names


def _groups(node: NodeProto) -> int:
    return int(attribute(node, "group", 1))


def _set_groups(node: NodeProto, groups: int) -> None:
    others = [each for each in node.attribute if each.name != "group"]
    del node.attribute[:]
    node.attribute.extend([*others, helper.make_attribute("group", groups)])
