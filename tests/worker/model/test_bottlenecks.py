"""worker.model.graph.bottlenecks: which blocks are in parts, and that outputs do not show it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.paths import ROOT
from tests.worker.convolutions import Convolutions
from tests.worker.model.test_graph import kinds, photographs, run
from worker.model import graph
from worker.model.graph import bottlenecks

SIZE, FEW = 12, 8


@dataclass(frozen=True)
class Bottleneck:
    """A model of one inverted bottleneck, with the input added to its output where sizes agree."""

    channels: int = 40
    #: Channels of its output.
    end: int = FEW
    activation: str = "Sigmoid"
    kernel: int = 3
    stride: int = 1
    bias: bool = True
    batch: int | str = 1
    weights_are_inputs: bool = False
    #: What makes it none of our business.
    oddity: str = ""

    def model(self) -> onnx.ModelProto:
        made = Convolutions(seed=5, bias=self.bias)
        nodes, constants, conv = made.nodes, made.constants, made.add

        def activated(source: str) -> str:
            target = f"{source}_activated"
            if self.activation != "Sigmoid":
                nodes.append(helper.make_node(self.activation, [source], [target]))
                return target
            nodes.append(helper.make_node("Sigmoid", [source], [f"{source}_gate"]))
            nodes.append(helper.make_node("Mul", [f"{source}_gate", source], [target]))
            return target

        twice = 2 if self.oddity == "depth multiplier" else 1
        size = 3 if self.oddity == "wide first kernel" else 1
        groups = 2 if self.oddity == "groups" else 1
        wide = conv("x", "wide", [self.channels, FEW // groups, size, size],
                    pads=[size // 2] * 4, group=groups)  # fmt: skip
        depth = conv(activated(wide), "depth",
                     [twice * self.channels, 1, self.kernel, self.kernel], group=self.channels,
                     strides=[self.stride] * 2, pads=[self.kernel // 2] * 4)  # fmt: skip
        narrow = conv(activated(depth), "narrow", [self.end, twice * self.channels, 1, 1])
        if self.stride == 1 and self.end == FEW:
            nodes.append(helper.make_node("Add", ["x", narrow], ["y"]))
        else:
            nodes.append(helper.make_node("Identity", [narrow], ["y"]))
        shape = [self.batch, FEW, SIZE, SIZE]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        if self.weights_are_inputs:
            inputs += made.as_inputs()
        anything = ["a", "b", "c", "d"]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, anything)]
        if self.oddity == "map is an output":
            outputs.append(helper.make_tensor_value_info("wide", TensorProto.FLOAT, anything))
        if self.oddity == "map is used twice":
            nodes.append(helper.make_node("Relu", ["wide_activated"], ["other"]))
            outputs.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, anything))
        if self.oddity == "weights are computed":
            constants[0].name = "given"
            nodes.insert(0, helper.make_node("Identity", ["given"], ["wide_weights"]))
        whole = helper.make_graph(nodes, "bottleneck", inputs, outputs, constants)
        return helper.make_model(
            whole,
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8 - 5 * self.weights_are_inputs,
        )


def in_parts(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    bottlenecks.in_parts(made)
    onnx.checker.check_model(made, full_check=True)
    return made


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks as small as these tests' are computed in parts."""
    monkeypatch.setattr(bottlenecks, "WORTH_BYTES", 1)
    monkeypatch.setattr(bottlenecks, "PART_BYTES", 16 * SIZE * SIZE * 4)


PLAIN = Bottleneck()


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    "block",
    [
        PLAIN,
        replace(PLAIN, activation="Relu", kernel=5, stride=2),
        replace(PLAIN, activation="HardSwish", bias=False),
        replace(PLAIN, channels=48, batch="n"),
        replace(PLAIN, weights_are_inputs=True),
    ],
    ids=["sigmoid", "relu, 5 x 5, stride 2", "hard swish, no bias", "free batch", "old export"],
)
def test_a_block_in_parts_gives_the_same(block: Bottleneck) -> None:
    """Three parts, whose last need not be full, and the same numbers but for rounding."""
    model = block.model()
    made = in_parts(model)
    assert kinds(made)["Conv"] == 3 * kinds(model)["Conv"]
    assert kinds(made)["Add"] == kinds(model)["Add"] + 2
    assert [value.name for value in made.graph.input] == ["x"]
    count = 3 if block.batch == "n" else 1
    value = np.random.default_rng(9).normal(size=(count, FEW, SIZE, SIZE)).astype(np.float32)
    for expected, given in zip(run(model, value), run(made, value), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    "oddity",
    ["groups", "depth multiplier", "wide first kernel", "map is an output", "map is used twice",
     "weights are computed"],
)  # fmt: skip
def test_what_is_no_such_block_stays(oddity: str) -> None:
    model = replace(PLAIN, oddity=oddity).model()
    assert kinds(in_parts(model)) == kinds(model)


@pytest.mark.usefixtures("small_parts")
def test_a_block_that_begins_with_the_end_of_another_stays() -> None:
    """As in MobileNetV1, where a convolution and the next share no narrow map."""
    model = replace(PLAIN, end=40).model()
    rng = np.random.default_rng(4)
    for name, shape in (("more_weights", (40, 1, 3, 3)), ("last_weights", (FEW, 40, 1, 1))):
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    del model.graph.node[-1]
    model.graph.node.extend(
        [
            helper.make_node("Relu", ["narrow"], ["between"]),
            helper.make_node("Conv", ["between", "more_weights"], ["more"], group=40, pads=[1] * 4),
            helper.make_node("Relu", ["more"], ["more_activated"]),
            helper.make_node("Conv", ["more_activated", "last_weights"], ["y"]),
        ]
    )
    made = in_parts(model)
    assert kinds(made)["Conv"] == kinds(model)["Conv"] + 2 * 3
    value = rng.normal(size=(1, FEW, SIZE, SIZE)).astype(np.float32)
    for expected, given in zip(run(model, value), run(made, value), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-2)


def test_small_blocks_stay() -> None:
    model = PLAIN.model()
    assert in_parts(model).graph == model.graph


@pytest.mark.parametrize("count", [1, 2])
def test_the_bundled_model_in_parts(count: int) -> None:
    """Its two widest blocks are in parts, at any batch size, and detect the same."""
    bundled = onnx.load(str(ROOT / "models" / "damoyolo_ns_phone.onnx"))
    images = photographs(bundled, count)
    graph.with_uint8_input(bundled)
    made = in_parts(bundled)
    split = {node.name for node in made.graph.node if "part_1_" in node.name}
    assert len(split) == 2 * 5, split
    for expected, given in zip(run(bundled, images), run(made, images), strict=True):
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-3)
