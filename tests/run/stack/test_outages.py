"""Servers that go away: what was stored stays, what is sent later arrives."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any

import pytest

from run.stack.native import Stack
from run.stack.ports import HOST
from tests.run.stack.servers_api import Servers, eventually
from tests.run.stack.telemetry_source import Source

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SPANS = 8
#: Traces that the Collector has taken, and Jaeger has not, when it is killed.
KILLED_WITH = 48
TOTAL = "sum(damoscope_requests_total)"


@pytest.fixture(scope="module")
def servers(stack: Stack) -> Servers:
    """Queries to the running stack."""
    return Servers(stack.ports)


def _whole(servers: Servers, trace_id: str) -> bool:
    return len(servers.spans(trace_id)) == SPANS


def test_traces_survive_a_restart_of_jaeger(stack: Stack, source: Source, servers: Servers) -> None:
    """A trace that Jaeger has can be opened after Jaeger was stopped and started."""
    trace_id = source.send().traces[0]
    eventually(lambda: _whole(servers, trace_id))
    jaeger = stack.processes["jaeger"]
    jaeger.stop()
    jaeger.start()
    eventually(jaeger.is_ready)
    assert eventually(lambda: _whole(servers, trace_id))


def test_without_jaeger_metrics_go_on_and_traces_come_later(
    stack: Stack, source: Source, servers: Servers
) -> None:
    """Jaeger is killed: metrics arrive as before, its traces when it is back."""
    jaeger = stack.processes["jaeger"]
    jaeger.signal(signal.SIGKILL)
    jaeger.join()
    sent = source.send(5)
    eventually(lambda: servers.value(TOTAL) == source.images)
    jaeger.start()
    eventually(jaeger.is_ready)
    for trace_id in sent.traces:
        eventually(lambda: _whole(servers, trace_id))  # noqa: B023 asked right here


def test_telemetry_flows_again_after_the_collector_was_killed(
    stack: Stack, source: Source, servers: Servers
) -> None:
    """Once the collector is back both signals arrive."""
    collector = stack.processes["collector"]
    collector.signal(signal.SIGKILL)
    collector.join()
    source.send(3)  # fails open: neither raises nor blocks for long
    collector.start()
    eventually(collector.is_ready)
    sent = source.send(2)
    eventually(lambda: _whole(servers, sent.traces[-1]))
    # Counters are cumulative: what was counted meanwhile is not lost.
    eventually(lambda: servers.value(TOTAL) == source.images)


def test_a_collector_that_is_killed_without_jaeger_loses_no_trace_that_it_took(
    stack: Stack, source: Source, servers: Servers
) -> None:
    """Its queue lies on disk before a sender is answered: once both are back every trace is whole,
    however soon after the answer it was killed."""
    jaeger, collector = stack.processes["jaeger"], stack.processes["collector"]
    jaeger.signal(signal.SIGKILL)
    jaeger.join()
    # Each is exported, and answered, by itself.
    sent = [trace_id for _ in range(KILLED_WITH) for trace_id in source.send().traces]
    collector.signal(signal.SIGKILL)
    collector.join()
    for process in (jaeger, collector):
        process.start()
        eventually(process.is_ready)
    for trace_id in sent:
        eventually(lambda: _whole(servers, trace_id))  # noqa: B023 asked right here


@pytest.fixture
def webhook(stack: Stack) -> Iterator[Queue[dict[str, Any]]]:
    """Something that takes alerts where the frontend would; yields what came in."""
    received: Queue[dict[str, Any]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/api/v1/alerts/webhook":
                received.put(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer((HOST, stack.ports.frontend), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


def test_alert_reaches_the_frontend(source: Source, webhook: Queue[dict[str, Any]]) -> None:
    """No workers for half a minute: Prometheus fires, Alertmanager posts to the frontend."""
    source.workers = {"busy": 0, "idle": 0}
    try:
        while True:
            message = webhook.get(timeout=150)
            if message["groupLabels"]["alertname"] == "NoWorkers":
                break
    finally:
        source.workers = {"busy": 1, "idle": 1}
    assert message["status"] == "firing"
    assert message["alerts"][0]["labels"]["severity"] == "critical"
    assert message["alerts"][0]["annotations"]["action"]
