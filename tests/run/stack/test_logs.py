"""The Collector passes log lines on to where they are kept, when they are sent to it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from run.stack import servers
from run.stack.binaries import BINARIES, find
from run.stack.ports import Ports
from tests.paths import ROOT
from tests.servers import Process, eventually
from tests.telemetry import collectors

pytestmark = pytest.mark.stack

PROGRAM = """
import logging
from telemetry import setup

telemetry = setup.start("damoscope-worker")
with telemetry.tracer.start_as_current_span("work"):
    logging.getLogger("damoscope.worker").warning("hello")
telemetry.shutdown(30)
"""


def test_lines_arrive(tmp_path: Path) -> None:
    """A worker's lines reach the address in LOGS_OTLP_URL, with their trace."""
    (binary,) = [each for each in BINARIES if each.name == "collector"]
    path = find(binary, ROOT)
    assert path, "the Collector's program is built by `make stack`"
    layout = servers.Layout(
        root=ROOT, home=tmp_path, ports=Ports.free(), binaries={"collector": str(path)},
        password="", overlay="otel-collector.yaml",
    )  # fmt: skip
    program = servers.collector(layout)
    health = f"http://{program.environment['COLLECTOR_HEALTH']}/"
    with collectors.http_collector() as kept:
        given = {**program.environment, "LOGS_OTLP_URL": kept.endpoint}
        with Process(list(program.command), tmp_path, given):
            eventually(lambda: _answers(health), "the Collector")
            endpoint = f"http://{program.environment['COLLECTOR_OTLP_HTTP']}"
            exporters = {
                "OTEL_LOGS_EXPORTER": "otlp",
                "OTEL_TRACES_EXPORTER": "none",
                "OTEL_METRICS_EXPORTER": "none",
            }
            collectors.run(PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **exporters)
            eventually(lambda: kept.lines, "the line")
    (line,) = kept.lines
    assert line.body.string_value == "hello"
    assert len(line.trace_id) == 16


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
