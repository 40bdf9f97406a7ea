"""The whole service under `opentelemetry-instrument`: its providers carry the image's trace."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from tests.integration import pictures
from tests.servers import PATIENCE_S, Process, eventually, free_port
from tests.telemetry.collectors import Collected, http_collector

SPANS = sorted([
    "POST /api/v1/detect", "upload", "enqueue detections", "queue_wait", "process detections",
    "preprocess", "inference", "nms",
])  # fmt: skip


@pytest.mark.timeout(3 * PATIENCE_S)
def test_one_image(tmp_path: Path) -> None:
    """An image's trace is the same as without it: each span once, and none besides."""
    agent = str(Path(sys.executable).with_name("opentelemetry-instrument"))
    port = free_port()
    with http_collector() as collected:
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "DAMOSCOPE_HOME": str(tmp_path / "home"), "DAMOSCOPE_PORT": str(port),
            "DAMOSCOPE_WORKERS": "1", "DAMOSCOPE_PROVIDER": "cpu",
        }  # fmt: skip
        command = [agent, sys.executable, "-m", "run", "up"]
        with Process(command, tmp_path, given) as service:
            service.wait_for("damoscope: ready after")
            answer = httpx.post(
                f"http://127.0.0.1:{port}/api/v1/detect", content=pictures.jpeg(), trust_env=False,
                headers={"content-type": "image/jpeg"}, timeout=PATIENCE_S,
            )  # fmt: skip
            assert answer.status_code == 200
            trace_id = answer.headers["x-trace-id"]
            eventually(lambda: len(names(collected, trace_id)) >= len(SPANS), "its spans")
        assert names(collected, trace_id) == SPANS
        assert {span.name for span in collected.spans} == {*SPANS, "batch"}
        assert collected.resource["telemetry.auto.version"]


def names(collected: Collected, trace_id: str) -> list[str]:
    return sorted(span.name for span in collected.spans if span.trace_id.hex() == trace_id)
