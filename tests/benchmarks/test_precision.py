"""A model in half and in single precision."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from benchmarks.throughput.precision import HALF, SINGLE, with_precision
from tests.paths import ROOT


@pytest.mark.parametrize(("precision", "kind"), [(HALF, np.float16), (SINGLE, np.float32)])
def test_a_model_computes_in_the_precision_asked_for(precision: int, kind: type) -> None:
    """Input and outputs are of that kind, and the scores are those of the original."""
    original = onnx.load(ROOT / "models" / "damoyolo_ns_phone.onnx")
    model = with_precision(with_precision(original, HALF), precision)
    onnx.checker.check_model(model)
    images = np.random.default_rng(0).integers(0, 255, (1, 3, 320, 320)).astype(np.float32)
    outputs = [
        ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"images": images.astype(wanted)}
        )
        for m, wanted in ((original, np.float32), (model, kind))
    ]
    assert all(array.dtype == kind for array in outputs[1])
    assert np.abs(outputs[0][0] - outputs[1][0].astype(np.float32)).max() < 0.02
