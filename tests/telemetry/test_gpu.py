"""telemetry.gpu: whether there is a GPU that may be used. This machine need not have one: the
driver's answers are put in its place."""

from __future__ import annotations

import pynvml
import pytest

from telemetry import gpu


def driver(monkeypatch: pytest.MonkeyPatch, gpus: int | None) -> None:
    """A driver that knows so many GPUs; None: no driver."""

    def init() -> None:
        if gpus is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: gpus)


@pytest.mark.parametrize(
    ("gpus", "environ", "visible"),
    [
        (None, {}, False), (0, {}, False), (1, {}, True), (8, {"CUDA_VISIBLE_DEVICES": "3"}, True),
        (1, {"CUDA_VISIBLE_DEVICES": ""}, False), (1, {"CUDA_VISIBLE_DEVICES": "-1"}, False),
    ],
)  # fmt: skip
def test_visible(
    monkeypatch: pytest.MonkeyPatch, gpus: int | None, environ: dict[str, str], visible: bool
) -> None:
    """A GPU counts unless it is hidden from CUDA on purpose."""
    driver(monkeypatch, gpus)
    assert gpu.visible(environ) is visible
