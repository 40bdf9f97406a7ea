"""worker.model.graph: what is changed in a graph, and that its outputs do not show it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.paths import ROOT
from tests.worker.onnx_models import Export
from worker.model import graph

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
    _, _, height, width = graph.dims(model.graph.input[0])
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
def test_an_adapted_model_detects_the_same(bundled: onnx.ModelProto, count: int) -> None:
    """Scores are the same bit by bit, boxes but for rounding, at any batch size."""
    images = photographs(bundled, count)
    adapted = graph.adapted(bundled)
    scores, boxes = run(bundled, planes(images))
    our_scores, our_boxes = run(adapted, images)
    np.testing.assert_array_equal(our_scores, scores)
    np.testing.assert_allclose(our_boxes, boxes, rtol=0, atol=BOX_TOLERANCE)
    assert kinds(bundled)["Softmax"] == 1
    assert kinds(adapted)["Softmax"] == 0, "the head's distributions were not found"
    turned = [node for node in adapted.graph.node if node.op_type == "Gather"]
    assert all(graph.attribute(node, "axis", 0) == 0 for node in turned), "nor its columns"


def test_adapting_leaves_the_model_as_it_was() -> None:
    """The graph given is not changed, and the new one takes N x H x W x 3."""
    exported = Export().model()
    before = exported.SerializeToString(deterministic=True)
    adapted = graph.adapted(exported)
    onnx.checker.check_model(adapted, full_check=True)
    assert exported.SerializeToString(deterministic=True) == before
    assert [value.name for value in adapted.graph.input] == [graph.IMAGE_INPUT]


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


# -- means of distributions ----------------------------------------------------------------

BINS, ANCHORS = 5, 7


def head(
    opset: int = 17, kind: int = TensorProto.FLOAT, oddity: str = "", batch: int = 1
) -> onnx.ModelProto:
    """The end of DAMO-YOLO's head: distributions to distances, of which two columns are taken."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = [
        numpy_helper.from_array(np.arange(BINS, dtype=dtype), "bins"),
        numpy_helper.from_array(np.full((ANCHORS, 1), 8, dtype), "strides"),
        numpy_helper.from_array(np.array(0), "left"),
        numpy_helper.from_array(np.array(3), "bottom"),
    ]
    perm = [0, 3, 2, 1] if oddity == "other perm" else [0, 3, 1, 2]
    nodes = [
        helper.make_node("Transpose", ["x"], ["rows"], perm=perm),
        helper.make_node("Softmax", ["rows"], ["shares"], axis=2 if oddity == "other axis" else 3),
        helper.make_node("MatMul", ["shares", "bins"], ["mean"]),
        helper.make_node("Mul", ["mean", "strides"], ["distances"]),
        helper.make_node("Gather", ["distances", "left"], ["lefts"], axis=2),
        helper.make_node("Gather", ["distances", "bottom"], ["bottoms"], axis=2),
        helper.make_node("Sub", ["bottoms", "lefts"], ["y"]),
    ]
    outputs = {"y": [batch, ANCHORS], "distances": [batch, ANCHORS, 4]}
    if oddity == "shares are an output":
        outputs["shares"] = [batch, ANCHORS, 4, BINS]
    sizes = (batch, BINS, 4, ANCHORS) if oddity == "other perm" else (batch, 4, BINS, ANCHORS)
    return helper.make_model(
        helper.make_graph(
            nodes,
            "head",
            [helper.make_tensor_value_info("x", kind, sizes)],
            [helper.make_tensor_value_info(name, kind, axes) for name, axes in outputs.items()],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def logits(batch: int, kind: int) -> np.ndarray:
    """Some are so large that their powers would not fit into any float."""
    values = np.random.default_rng(2).normal(scale=3, size=(batch, 4, BINS, ANCHORS))
    values[:, 0] += 500
    values[:, 1, 2] += 2000
    return values.astype(helper.tensor_dtype_to_np_dtype(kind))


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("batch", [1, 3])
def test_means_of_distributions(opset: int, kind: int, batch: int) -> None:
    """Computed over all anchors at once they are the same, however large the numbers are."""
    model, value = head(opset, kind, batch=batch), logits(batch, kind)
    expected = run(model, value)
    graph.with_planar_integrals(model)
    graph.with_gathered_rows(model)
    onnx.checker.check_model(model, full_check=True)
    assert kinds(model)["Softmax"] == 0
    assert [graph.attribute(node, "axis", 0) for node in model.graph.node
            if node.op_type == "Gather"] == [0, 0]  # fmt: skip
    tolerance = 1e-4 if kind == TensorProto.FLOAT else 0.1
    for wanted, given in zip(expected, run(model, value), strict=True):
        assert given.shape == wanted.shape
        np.testing.assert_allclose(given, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("oddity", ["other perm", "other axis", "shares are an output"])
def test_what_is_no_such_mean_stays(oddity: str) -> None:
    model = head(oddity=oddity)
    before = model.SerializeToString(deterministic=True)
    graph.with_planar_integrals(model)
    assert model.SerializeToString(deterministic=True) == before


def test_columns_of_other_shapes_stay() -> None:
    """Gathering along the third of four axes is something else."""
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Relu", ["x"], ["z"]),
                helper.make_node("Gather", ["z", "one"], ["first"], axis=2),
                helper.make_node("Gather", ["z", "one"], ["second"], axis=2),
                helper.make_node("Add", ["first", "second"], ["y"]),
            ],
            "four axes",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4])],
            [numpy_helper.from_array(np.array(1), "one")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    before = model.SerializeToString(deterministic=True)
    graph.with_gathered_rows(model)
    assert model.SerializeToString(deterministic=True) == before
