"""telemetry.setup beside what a user has set up: processors, samplers, exporters, views, agents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.servers import PATIENCE_S
from tests.telemetry.collectors import environment, http_collector

#: What a user puts into `sitecustomize.py`, as docs/traces.md says.
OWN = """
import json
from opentelemetry import metrics, trace
from opentelemetry.baggage import get_all
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

class Baggage(SpanProcessor):
    def on_start(self, span, parent_context=None):
        span.set_attributes(dict(get_all(parent_context)))
    def on_end(self, span):
        print("SPAN", json.dumps([span.name, dict(span.attributes or {})]))

trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(Baggage())
metrics.set_meter_provider(MeterProvider(
    [PeriodicExportingMetricReader(ConsoleMetricExporter())],
    views=[View(instrument_name="damoscope.stage.duration", attribute_keys=set())],
))
"""
#: One image that a frontend has enqueued with baggage, and what a worker makes of it.
PROGRAM = """
from telemetry import setup
from tests.worker.test_trace import call, done, PHONE
from worker.trace import WorkerTrace

telemetry = setup.start("damoscope-worker")
meta = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "baggage": "camera=7,hall=b"}
trace = WorkerTrace(telemetry, worker="worker-1", model="ns", provider="cpu", queue="detections")
trace.batch([done(meta, call(), [PHONE])])
telemetry.shutdown(30)
"""
OF_AN_IMAGE = {"queue_wait", "process detections", "preprocess", "inference", "nms"}


def run(command: list[str], folder: Path, **variables: str) -> str:
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        command, env=environment(PYTHONPATH=path, **variables), cwd=folder, text=True,
        capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_processor(tmp_path: Path) -> None:
    """A processor of the user's stamps what came with the request on every span of the image, as
    it starts; and a view of the user's shapes the metrics."""
    (tmp_path / "sitecustomize.py").write_text(OWN)
    lines = run([sys.executable, "-c", PROGRAM], tmp_path).splitlines()
    spans = dict(json.loads(line.removeprefix("SPAN ")) for line in lines if "SPAN" in line)
    assert set(spans) == OF_AN_IMAGE | {"batch"}
    for name in OF_AN_IMAGE:
        assert (spans[name]["camera"], spans[name]["hall"]) == ("7", "b")
    assert spans["process detections"]["damoscope.worker"] == "worker-1"
    assert "camera" not in spans["batch"]
    text = "\n".join(line for line in lines if not line.startswith("SPAN"))
    (exported,) = json.loads(text)["resource_metrics"]
    (points,) = [
        metric["data"]["data_points"]
        for scope in exported["scope_metrics"]
        for metric in scope["metrics"]
        if metric["name"] == "damoscope.stage.duration"
    ]
    assert [(point["attributes"], point["count"]) for point in points] == [({}, 4)]


def test_agent(tmp_path: Path) -> None:
    """Under `opentelemetry-instrument` its providers are used: it sends the image's spans."""
    (tmp_path / "program.py").write_text(PROGRAM)
    agent = Path(sys.executable).with_name("opentelemetry-instrument")
    with http_collector() as collected:
        run(
            [str(agent), sys.executable, "program.py"], tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=collected.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf", OTEL_SERVICE_NAME="damoscope-worker",
        )  # fmt: skip
    assert {*collected.span_names} == OF_AN_IMAGE | {"batch"}
    assert len(collected.span_names) == 6
    assert collected.resource["telemetry.auto.version"]
    assert collected.metric("damoscope.stage.duration").histogram.data_points


@pytest.mark.parametrize("signal", ["spans", "metrics"])
def test_schema(signal: str) -> None:
    """The version of the conventions that names follow is stated, and our own version."""
    from tests.telemetry.collectors import run

    with http_collector() as collected:
        run(OTEL_EXPORTER_OTLP_ENDPOINT=collected.endpoint)
    if signal == "spans":
        scopes = [s for r in collected.traces for x in r.resource_spans for s in x.scope_spans]
    else:
        scopes = [s for r in collected.metrics for x in r.resource_metrics for s in x.scope_metrics]
    ours = [scope for scope in scopes if scope.scope.name == "damoscope"]
    assert ours
    for scope in ours:
        assert scope.schema_url.startswith("https://opentelemetry.io/schemas/1.")
        assert scope.scope.version
