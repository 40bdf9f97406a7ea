"""telemetry.setup: where telemetry goes, and that it is in nobody's way."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from telemetry import logs, variables
from telemetry.resource import host_id
from tests.servers import free_port
from tests.telemetry.collectors import (
    PROGRAM,
    grpc_collector,
    http_collector,
    run,
    silent_collector,
)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_http() -> None:
    """An endpoint is enough: spans and metrics arrive by HTTP, before the process ends."""
    with http_collector() as collected:
        trace_id = run(**{ENDPOINT: collected.endpoint}).stdout.strip()
    assert collected.paths == {"/v1/traces", "/v1/metrics"}
    assert collected.span_names == ["work"]
    resource = collected.resource
    assert resource["service.name"] == "damoscope-worker"
    assert len(resource["service.instance.id"]) == 36
    assert resource["host.id"] == host_id()
    assert resource["process.pid"] > 0
    (point,) = collected.metric("damoscope.batch.size").histogram.data_points
    assert (point.count, point.sum) == (1, 3)
    assert [exemplar.trace_id.hex() for exemplar in point.exemplars] == [trace_id]
    # CPU and memory of the process and of the host are reported too.
    for name in ("process.memory.usage", "system.cpu.utilization", "system.memory.usage"):
        assert collected.metric(name)


def test_grpc() -> None:
    """The protocol variable chooses gRPC."""
    with grpc_collector() as collected:
        run(**{ENDPOINT: collected.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert collected.span_names == ["work"]
    assert collected.metric("damoscope.batch.size")


def test_protocol_of_one_signal() -> None:
    """Each signal may have a protocol and an endpoint of its own."""
    with http_collector() as http, grpc_collector() as by_grpc:
        run(
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{http.endpoint}/custom/traces",
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=by_grpc.endpoint,
            OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="grpc",
        )
    assert http.paths == {"/custom/traces"}
    assert http.span_names == ["work"]
    assert by_grpc.traces == []
    assert by_grpc.metric("damoscope.batch.size")


@pytest.mark.parametrize(
    ("variables", "paths"),
    [
        ({"OTEL_TRACES_EXPORTER": "none"}, {"/v1/metrics"}),
        ({"OTEL_METRICS_EXPORTER": "None"}, {"/v1/traces"}),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, set()),
        ({"OTEL_SDK_DISABLED": "true"}, set()),
    ],
)
def test_switched_off(variables: dict[str, str], paths: set[str]) -> None:
    """The standard variables switch a signal, or everything, off."""
    with http_collector() as collected:
        run(**{ENDPOINT: collected.endpoint, **variables})
    assert collected.paths == paths


def test_no_endpoint() -> None:
    """Without an endpoint traces have ids, nothing is sent, and nobody complains."""
    done = run()
    assert int(done.stdout, 16) != 0
    assert done.stderr == ""


def test_empty_variables() -> None:
    """An empty variable, as Compose passes those that are not set, means unset."""
    empty = dict.fromkeys(variables.known(), "")
    with http_collector() as collected:
        run(**empty | {ENDPOINT: collected.endpoint})
    assert collected.span_names == ["work"]


def test_silent_collector() -> None:
    """A collector that hangs does not hold up the end of a process."""
    program = PROGRAM.replace("shutdown(30)", "shutdown(0.2)") + (
        "import threading\n"
        "print('telemetry-end' in {thread.name for thread in threading.enumerate()})\n"
    )
    with silent_collector() as endpoint:
        done = run(program, **{ENDPOINT: endpoint}, OTEL_EXPORTER_OTLP_TIMEOUT="90")
    assert done.stdout.split()[-1] == "True"  # it was still waiting, and was left behind


def test_shutdown_twice() -> None:
    """Ending twice is ending once."""
    program = PROGRAM.replace("telemetry.shutdown(30)", "telemetry.shutdown(30)\n" * 2)
    with http_collector() as collected:
        done = run(program, **{ENDPOINT: collected.endpoint})
    assert collected.span_names == ["work"]
    assert done.stderr == ""


def test_absent_collector() -> None:
    """A collector that is away costs one line of each kind, however often it is tried."""
    port = free_port()
    program = """
from telemetry import logs, setup

logs.GRACE_S = 0.0
logs.configure("info", "text")
telemetry = setup.start("damoscope-worker")
for _ in range(3):
    telemetry.tracer.start_span("work").end()
    telemetry.tracer_provider.force_flush()
    telemetry.meter_provider.force_flush()
telemetry.shutdown(30)
"""
    done = run(
        program,
        **{ENDPOINT: f"http://127.0.0.1:{port}"},
        OTEL_EXPORTER_OTLP_TIMEOUT="0.2",
    )
    loggers = [line.split()[2] for line in done.stderr.splitlines()]
    assert any("trace_exporter" in logger for logger in loggers)
    assert len(set(loggers)) == len(loggers) < 6


# -- the parts ------------------------------------------------------------------------------


class Clock:
    """Stands in for the time module, as far as the filter asks it."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


def test_once_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a grace, one record a minute of each logger passes, without its traceback."""
    clock = Clock()
    monkeypatch.setattr(logs, "time", clock)
    once = logs.OncePerMinute()

    def passes(logger: str) -> bool:
        error = (ValueError, ValueError("x"), None)
        record = logging.LogRecord(logger, logging.ERROR, "f", 1, "message", None, error)
        passed = bool(once.filter(record))
        assert not passed or record.exc_info is None or logger == "damoscope.worker"
        return passed

    assert passes("damoscope.worker")
    assert passes("damoscope.worker")
    assert not passes("opentelemetry.traces")
    clock.now_s += logs.GRACE_S
    assert passes("opentelemetry.traces")
    assert not passes("opentelemetry.traces")
    assert passes("opentelemetry.metrics")
    clock.now_s += 59
    assert not passes("opentelemetry.traces")
    clock.now_s += 1
    assert passes("opentelemetry.traces")
    assert not passes("opentelemetry.traces")


def test_host_id() -> None:
    """The host's id is the same every time, and is not the machine id itself."""
    assert host_id() == host_id()
    assert len(host_id()) == 32
    machine_id = Path("/etc/machine-id")
    if machine_id.is_file():
        assert host_id() != machine_id.read_text(encoding="ascii").strip()
