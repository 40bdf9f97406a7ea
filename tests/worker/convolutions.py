"""Nodes of small models of convolutions, with random weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper


@dataclass
class Convolutions:
    """Collects the nodes of a model and their constants."""

    seed: int
    bias: bool = True
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def add(self, source: str, target: str, shape: list[int], **attributes: Any) -> str:
        """A convolution with weights of this shape. Returns the name of its value."""
        names = [f"{target}_weights", f"{target}_bias"][: 1 + self.bias]
        for name, axes in zip(names, (shape, shape[:1]), strict=False):
            values = self._random.normal(size=axes).astype(np.float32)
            self.constants.append(numpy_helper.from_array(values, name))
        self.nodes.append(helper.make_node("Conv", [source, *names], [target], **attributes))
        return target

    def as_inputs(self) -> list[ValueInfoProto]:
        """The constants as old exports list them, among the inputs."""
        return [
            helper.make_tensor_value_info(value.name, value.data_type, value.dims)
            for value in self.constants
        ]
