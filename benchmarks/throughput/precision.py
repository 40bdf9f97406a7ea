"""A model's floats as half or as single precision."""

from __future__ import annotations

import onnx
from onnx import TensorProto, numpy_helper

SINGLE, HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)
_NUMPY = {SINGLE: "float32", HALF: "float16"}
#: Inputs that stay float32 whatever the precision: the scales of Resize.
_RESIZE_SCALES = 2


def with_precision(model: onnx.ModelProto, wanted: int) -> onnx.ModelProto:
    """A copy that computes in `wanted` (SINGLE or HALF), its input and outputs included.

    Meant for plain convolutional graphs without subgraphs, such as DAMO-YOLO's exports.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    kept = {
        node.input[_RESIZE_SCALES]
        for node in graph.node
        if node.op_type == "Resize" and len(node.input) > _RESIZE_SCALES
    }
    for tensor in graph.initializer:
        if tensor.name not in kept:
            _convert(tensor, wanted)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and node.op_type == "Cast" and attribute.i in _NUMPY:
                attribute.i = wanted
            elif attribute.type == onnx.AttributeProto.TENSOR and node.output[0] not in kept:
                _convert(attribute.t, wanted)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in _NUMPY:
            value.type.tensor_type.elem_type = wanted
    del graph.value_info[:]
    return copied


def _convert(tensor: onnx.TensorProto, wanted: int) -> None:
    if tensor.data_type in _NUMPY:
        values = numpy_helper.to_array(tensor).astype(_NUMPY[wanted])
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
