"""worker.model.joins: which joins of maps become sums, and that the outputs do not show it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.paths import ROOT
from tests.worker.convolutions import Convolutions
from tests.worker.model.test_graph import kinds, photographs, run
from worker.model import graph
from worker.model.joins import without_joins

SIZE = 9


@dataclass(frozen=True)
class Join:
    """A model of maps that are joined, and the convolutions behind."""

    #: Channels of the maps, which are made of the input by convolutions of their own.
    channels: tuple[int, ...] = (40, 80, 24)
    kernel: int = 1
    stride: int = 1
    bias: bool = True
    batch: int | str = 1
    weights_are_inputs: bool = False
    #: What makes it none of our business.
    oddity: str = ""

    def model(self) -> onnx.ModelProto:
        made = Convolutions(seed=6, bias=self.bias)
        nodes, constants, conv = made.nodes, made.constants, made.add

        maps = [f"map_{index}" for index in range(len(self.channels))]
        for name, channels in zip(maps, self.channels, strict=True):
            conv("x", name, [channels, 8, 1, 1])
        axis = 2 if self.oddity == "other axis" else 1
        nodes.append(helper.make_node("Concat", maps, ["joined"], axis=axis))
        total = self.channels[0] if axis == 2 else sum(self.channels)
        groups = 2 if self.oddity == "groups" else 1
        for end in ("y", "z"):
            conv("joined", end, [24, total // groups, self.kernel, self.kernel], group=groups,
                 strides=[self.stride] * 2, pads=[self.kernel // 2] * 4)  # fmt: skip
        outputs = ["y", "z"]
        if self.oddity == "joined maps are an output":
            outputs.append("joined")
        if self.oddity == "another use":
            nodes.append(helper.make_node("Relu", ["joined"], ["other"]))
            outputs.append("other")
        if self.oddity == "weights are computed":
            next(value for value in constants if value.name == "z_weights").name = "given"
            nodes.insert(0, helper.make_node("Identity", ["given"], ["z_weights"]))
        inputs = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [self.batch, 8, SIZE, SIZE])
        ]
        if self.weights_are_inputs:
            inputs += made.as_inputs()
        whole = helper.make_graph(
            nodes,
            "join",
            inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [*"abcd"]) for name in outputs],
            constants,
        )
        return helper.make_model(
            whole,
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8 - 5 * self.weights_are_inputs,
        )


def summed(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto.FromString(without_joins(model.SerializeToString()))
    onnx.checker.check_model(made, full_check=True)
    return made


PLAIN = Join()


@pytest.mark.parametrize(
    "join",
    [
        PLAIN,
        replace(PLAIN, kernel=3, stride=2),
        replace(PLAIN, channels=(40, 80), bias=False, batch="n"),
        replace(PLAIN, weights_are_inputs=True),
    ],
    ids=["1 x 1", "3 x 3, stride 2", "no bias, free batch", "old export"],
)
def test_a_sum_gives_the_same(join: Join) -> None:
    """Both convolutions are sums of one for each map, with one bias, and nothing is joined."""
    model = join.model()
    made = summed(model)
    parts = len(join.channels)
    assert kinds(made)["Concat"] == 0
    assert kinds(made)["Conv"] == parts + 2 * parts
    assert kinds(made)["Add"] == 2 * (parts - 1)
    assert not {"y_weights", "z_weights"} & {value.name for value in made.graph.input}
    count = 3 if join.batch == "n" else 1
    value = np.random.default_rng(9).normal(size=(count, 8, SIZE, SIZE)).astype(np.float32)
    for expected, given in zip(run(model, value), run(made, value), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "join",
    [
        replace(PLAIN, channels=(16, 32, 80)),
        replace(PLAIN, channels=(20, 20, 20)),
        *(
            replace(PLAIN, channels=(40, 40, 40), oddity=oddity)
            for oddity in ("other axis", "groups", "joined maps are an output", "another use",
                           "weights are computed")
        ),
    ],
    ids=lambda join: join.oddity or str(join.channels),
)  # fmt: skip
def test_other_joins_stay(join: Join) -> None:
    """Groups that are full, or would be filled up with much, and what is no sum over channels."""
    model = join.model()
    assert kinds(summed(model)) == kinds(model)


@pytest.mark.parametrize("count", [1, 2])
def test_the_bundled_model_without_joins(count: int) -> None:
    """Five joins of its neck are gone, at any batch size, and it detects the same."""
    bundled = onnx.load(str(ROOT / "models" / "damoyolo_ns_phone.onnx"))
    adapted = graph.adapted(bundled)
    made = summed(adapted)
    assert kinds(adapted)["Concat"] - kinds(made)["Concat"] == 5
    images = photographs(bundled, count)
    for expected, given in zip(run(adapted, images), run(made, images), strict=True):
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-3)
