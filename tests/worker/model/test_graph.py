"""worker.model.graph: what is changed in a graph, and that its outputs do not show it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.paths import ROOT
from worker.model import graph
from worker.model.graph.nodes import dims

#: What rounding may change in a box of the bundled model, in pixels of its input.
BOX_TOLERANCE = 1e-3


def run(model: onnx.ModelProto, value: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: value})
    return outputs


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.fixture
def bundled() -> onnx.ModelProto:
    return onnx.load(str(ROOT / "models" / "damoyolo_ns_phone.onnx"))


def photographs(model: onnx.ModelProto, count: int) -> np.ndarray:
    """uint8 images, count x H x W x 3, of the model's input size."""
    _, _, height, width = dims(model.graph.input[0])
    rng = np.random.default_rng(3)
    return rng.integers(0, 200, (count, height, width, 3), dtype=np.uint8)


def planes(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)


def test_uint8_input_changes_nothing(bundled: onnx.ModelProto) -> None:
    """uint8 images in rows give bit by bit what float32 RGB planes of 0..255 give upstream."""
    images = photographs(bundled, 2)
    plain = run(bundled, planes(images))
    graph.with_uint8_input(bundled)
    for expected, given in zip(plain, run(bundled, images), strict=True):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_adapted_model_detects_the_same(
    bundled: onnx.ModelProto, count: int, threads: int
) -> None:
    """Scores and boxes are the same but for rounding, at any batch size; blocks are in parts for
    one thread alone."""
    images = photographs(bundled, count)
    plain = run(bundled, planes(images))
    before = kinds(bundled)
    graph.with_uint8_input(bundled)
    adapted = onnx.ModelProto.FromString(graph.for_cpu(bundled.SerializeToString(), threads))
    onnx.checker.check_model(adapted, full_check=True)
    for expected, ours in zip(plain, run(adapted, images), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=BOX_TOLERANCE)
    assert kinds(adapted)["Unsqueeze"] > before["Unsqueeze"], "no product with a vector was found"
    assert (kinds(adapted)["Conv"] > before["Conv"]) == (threads == 1), "nor a wide block"


# -- products with a vector ----------------------------------------------------------------


def products(shape: list[int], opset: int, *, as_node: bool, kind: int) -> onnx.ModelProto:
    """Two products with one constant vector, and one with a matrix, which nobody changes."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    length = shape[-1]
    vector = numpy_helper.from_array(np.arange(length, dtype=dtype), "vector")
    matrix = numpy_helper.from_array(np.eye(length, dtype=dtype) * 2, "matrix")
    nodes = [
        helper.make_node("MatMul", ["x", "vector"], ["first"]),
        helper.make_node("MatMul", ["x", "matrix"], ["middle"]),
        helper.make_node("MatMul", ["middle", "vector"], ["second"]),
    ]
    if as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["vector"], value=vector))
    return helper.make_model(
        helper.make_graph(
            nodes,
            "products",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(name, kind, shape[:-1]) for name in ("first", "second")],
            [matrix] if as_node else [matrix, vector],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


@pytest.mark.parametrize("shape", [[2, 5, 4, 8], [7, 8], [8]], ids=["4 axes", "2 axes", "1 axis"])
@pytest.mark.parametrize("as_node", [False, True], ids=["initializer", "constant"])
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_products_with_a_vector(shape: list[int], as_node: bool, opset: int, kind: int) -> None:
    """Whatever the shapes, the opset and the place of the constant: shapes and values stay."""
    model = products(shape, opset, as_node=as_node, kind=kind)
    value = np.random.default_rng(1).integers(0, 5, shape)
    value = value.astype(helper.tensor_dtype_to_np_dtype(kind))
    expected = run(model, value)
    graph.with_matrix_products(model)
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model)["Squeeze"] == kinds(model)["Unsqueeze"] == 2
    for wanted, given in zip(expected, run(model, value), strict=True):
        assert given.shape == wanted.shape == tuple(shape[:-1])
        np.testing.assert_array_equal(given, wanted)


def test_a_vector_that_is_no_constant_stays() -> None:
    """A vector that the graph computes is left alone: nobody knows that it has one axis."""
    model = products([5, 8], 17, as_node=False, kind=TensorProto.FLOAT)
    del model.graph.initializer[1]
    model.graph.input.append(helper.make_tensor_value_info("vector", TensorProto.FLOAT, [8]))
    before = model.SerializeToString(deterministic=True)
    graph.with_matrix_products(model)
    assert model.SerializeToString(deterministic=True) == before
