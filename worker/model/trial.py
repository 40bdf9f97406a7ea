"""A model run on trial: on the CPU, outside of a worker, for a bounded time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from pipeline.errors import ModelError
from worker.model.graph import takes_images

#: Seconds that one call of a model may take.
CALL_S = 300

Outputs = list[NDArray[Any]]


def session_of(serialized: bytes, threads: int = 0) -> ort.InferenceSession:
    """A session with so many threads; 0 are as many as there are cores. Raises ModelError."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    try:
        return ort.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a family of its own
        raise ModelError(f"ONNX Runtime cannot load it: {error}") from error


def run_on(
    session: ort.InferenceSession, model: onnx.ModelProto, pictures: Sequence[NDArray[np.uint8]]
) -> Outputs:
    """Outputs for pictures, in the form that the model wants them. Raises ModelError."""
    given: NDArray[Any] = np.stack(pictures)
    (wanted,) = session.get_inputs()
    if not takes_images(model):
        kind = np.float16 if wanted.type == "tensor(float16)" else np.float32
        given = np.ascontiguousarray(given.transpose(0, 3, 1, 2)).astype(kind)
    options = ort.RunOptions()
    overdue = threading.Timer(CALL_S, lambda: setattr(options, "terminate", True))
    overdue.daemon = True
    overdue.start()
    try:
        outputs: Outputs = session.run(None, {wanted.name: given}, options)
    except Exception as error:
        if options.terminate:
            raise ModelError(f"it ran for longer than the {CALL_S} s allowed") from error
        raise ModelError(f"{len(pictures)} pictures failed: {error}") from error
    finally:
        overdue.cancel()
    return outputs
