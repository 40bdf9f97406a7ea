"""The bundled model, loaded once for all tests of the worker."""

from __future__ import annotations

import pytest

from pipeline.settings import Settings
from tests.paths import ROOT
from worker.model.session import Detector

BUNDLED = ROOT / "models" / "damoyolo_ns_phone.onnx"


@pytest.fixture(scope="session")
def bundled() -> Detector:
    """The bundled model, which may take four images at once."""
    return Detector(Settings(model=BUNDLED, provider="cpu", threads=1, batch_max=4))
