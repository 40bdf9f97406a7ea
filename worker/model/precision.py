"""A model in fewer bits: half precision for GPUs, integers of eight bits for CPUs.

Both are ONNX Runtime's own conversions of an imported model; what goes in and comes out keeps its
type. What came of it is told by running both on photographs.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from pipeline.errors import ModelError
from worker.model.agreement import Agreement, compare
from worker.model.graph import IMAGE_INPUT, for_cpu
from worker.model.graph.order import in_order
from worker.model.loading import ModelSpec, metadata_of, readable
from worker.model.outputs import synthetic, tell
from worker.model.trial import run_on, session_of

#: What becomes integers: convolutions carry nearly all of the time. Coordinates of boxes need more
#: than 256 steps.
INTEGER_OPS = ("Conv",)

Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Conversion:
    """What was written, and how it compares."""

    #: fp16 or int8.
    precision: str
    #: Pictures that it was calibrated with, which are none of those that judge.
    calibrated_with: int
    agreement: Agreement
    #: Bytes of the original and of what was written.
    original_bytes: int
    converted_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.converted_bytes:,} bytes in place of {self.original_bytes:,}; {self.agreement}"
        )


def convert(
    source: Path, target: Path, precision: str, spec: ModelSpec, pictures: Pictures
) -> Conversion:
    """Write `target`, made of `source`, which an import has written. Every second picture
    calibrates; the others judge. Half precision needs no calibration: all judge.

    Raises ModelError when it cannot be converted, or does not give what a DAMO-YOLO gives.
    """
    model = readable(source)
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise ModelError(f"{source}: it is in half precision already; convert its original")
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise ModelError(f"{source}: it is quantized already; convert its original")
    calibrating: Pictures = pictures[::2] if precision == "int8" else ()
    judging = pictures[1::2] if calibrating else pictures
    with _explained(precision):
        made = _half(model) if precision == "fp16" else _integers(model, calibrating)
    in_order(made.graph)
    helper.set_model_props(made, metadata_of(model) | {"damoscope.precision": precision})
    target.write_bytes(made.SerializeToString())
    made = readable(target)
    # As a worker with one thread runs them.
    sessions = [session_of(for_cpu(each.SerializeToString(), 1), 1) for each in (model, made)]
    outputs = run_on(sessions[1], made, [synthetic(spec.height, spec.width)])
    if tell(outputs, spec.height, spec.width) != (spec.scores_output, spec.boxes_output):
        raise ModelError("its outputs have changed places")
    agreement = compare((sessions[0], model), (sessions[1], made), judging, spec)
    sizes = source.stat().st_size, target.stat().st_size
    return Conversion(precision, len(calibrating), agreement, *sizes)


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    made: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return made


def _integers(model: onnx.ModelProto, pictures: Pictures) -> onnx.ModelProto:
    """Static quantization: each convolution with weights of its own scale for each channel, and
    activations scaled by what the pictures make of them.

    Weights have seven bits: CPUs without VNNI add two products in sixteen, which eight overflow.
    """
    from onnxruntime.quantization import (
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    with tempfile.TemporaryDirectory(prefix="damoscope-int8-") as folder:
        prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "written.onnx"
        given = Path(folder) / "given.onnx"  # what it is given in memory, it takes apart
        onnx.save(model, given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, written, _Reader(pictures), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=list(INTEGER_OPS),
        )  # fmt: skip
        return onnx.load(written)


class _Reader:
    """Hands ONNX Runtime's calibration one picture after the other."""

    def __init__(self, pictures: Pictures) -> None:
        self._left: Iterator[NDArray[np.uint8]] = iter(pictures)

    def get_next(self) -> dict[str, Any] | None:
        picture = next(self._left, None)
        return None if picture is None else {IMAGE_INPUT: picture[np.newaxis]}


@contextmanager
def _explained(precision: str) -> Iterator[None]:
    """What the converters raise, which is anything, as a ModelError; and without their advice."""
    root = logging.getLogger()
    level, root.level = root.level, logging.ERROR
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"ONNX Runtime cannot convert it to {precision}: {said}") from error
    finally:
        root.level = level
