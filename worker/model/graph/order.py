"""The order of a graph's nodes.

ONNX wants each value made before it is used, and its checker refuses what is not so. ONNX Runtime
does not mind, and converters to half precision rely on that: they put their casts at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import onnx
from onnx import NodeProto

from pipeline.errors import ModelError


def in_order(graph: onnx.GraphProto) -> None:
    """Sort the nodes, if they are not sorted. Raises ModelError when they go round in a circle."""
    made = {output: index for index, node in enumerate(graph.node) for output in node.output}
    before = {
        index: {made[name] for name in _used(node) if name in made}
        for index, node in enumerate(graph.node)
    }
    if all(max(earlier, default=-1) < index for index, earlier in before.items()):
        return
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise ModelError("its nodes use each other's values in a circle") from error
    nodes = [graph.node[index] for index in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _used(node: NodeProto) -> Iterator[str]:
    """Names of the values that a node uses; its inner graphs use some from outside, too."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for each in inner.node:
                yield from _used(each)
