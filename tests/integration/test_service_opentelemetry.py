"""Variables of OpenTelemetry on a whole service: what they say holds from request to result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration import pictures
from tests.servers import PATIENCE_S, Service

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
TRACE, PARENT = "a" * 31, "b" * 16


@pytest.mark.timeout(2 * PATIENCE_S)
def test_propagators(tmp_path: Path) -> None:
    """Whichever of the headers names the trace, the request and the worker's spans are in it."""
    headers = [
        {"traceparent": f"00-{TRACE}0-{PARENT}-01"},
        {"b3": f"{TRACE}1-{PARENT}-1"},
        {"x-b3-traceid": f"{TRACE}2", "x-b3-spanid": PARENT, "x-b3-sampled": "1"},
        {"uber-trace-id": f"{TRACE}3:{PARENT}:0:1"},
    ]
    chosen = "tracecontext,baggage,b3,b3multi,jaeger"
    with Service(tmp_path / "home", OTEL_PROPAGATORS=chosen) as service, service.client() as client:
        service.wait_until_ready()
        for number, header in enumerate(headers):
            answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG | header)
            assert answer.status_code == 200
            assert answer.headers["x-trace-id"] == f"{TRACE}{number}"
            assert answer.json()["trace_id"] == f"{TRACE}{number}"
            spans = {span["name"]: span for span in service.spans(f"{TRACE}{number}", 8)}
            assert spans["POST /api/v1/detect"]["parent_span_id"] == PARENT
            enqueue = spans["enqueue detections"]["span_id"]
            assert spans["process detections"]["parent_span_id"] == enqueue


@pytest.mark.timeout(2 * PATIENCE_S)
def test_without_the_sdk(tmp_path: Path) -> None:
    """Images are detected as ever, and no answer names a trace that there is not."""
    with (
        Service(tmp_path / "home", OTEL_SDK_DISABLED="true") as service,
        service.client() as client,
    ):
        service.wait_until_ready()
        answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
        assert answer.status_code == 200
        assert "x-trace-id" not in answer.headers
        assert answer.json()["trace_id"] == ""
        assert client.post(DETECT, content=b"no image", headers=JPEG).status_code == 400
        job = client.get(f"/api/v1/jobs/{answer.json()['job_id']}").json()
        assert job["trace_id"] is None
        assert client.get("/api/v1/traces").json() == []
