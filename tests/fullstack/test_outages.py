"""Telemetry fails open: whichever of its servers is away, images are detected as before."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc
import pytest

from monitoring.stores.contract import Window
from monitoring.stores.prometheus import PrometheusMetrics
from pipeline.errors import Unavailable
from run.processes import Process
from run.stack.native import Stack
from run.stack.ports import HOST
from telemetry import catalogue
from tests.fullstack.service import ARRIVAL_S, Load, Service
from tests.fullstack.traces import IMAGE, shape_of
from tests.run.stack.servers_api import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

#: Seconds of an outage: a few exports fail, the longest of them (10 s) included.
OUTAGE_S = 15.0
#: What answers from Prometheus, where it is offered.
FROM_PROMETHEUS = ("/api/v1/stats", "/api/v1/stats/series", "/api/v1/report")


@contextmanager
def killed(process: Process) -> Iterator[None]:
    """The process dies while the block runs; afterwards it is started again."""
    process.signal(signal.SIGKILL)
    process.join()
    try:
        yield
    finally:
        process.start()
        eventually(process.is_ready)


@contextmanager
def hung(process: Process) -> Iterator[None]:
    """The process takes connections and never answers while the block runs."""
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


@contextmanager
def refusing(process: Process, port: int, code: grpc.StatusCode) -> Iterator[None]:
    """In the process's place stands one that refuses every export."""

    class Refuse(grpc.GenericRpcHandler):
        def service(self, _: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(self._answer)

        def _answer(self, _: bytes, context: Any) -> bytes:
            context.set_code(code)
            context.set_details("not now")
            return b""

    with killed(process):
        server = grpc.server(ThreadPoolExecutor(2), handlers=[Refuse()])
        assert server.add_insecure_port(f"{HOST}:{port}") == port
        server.start()
        try:
            yield
        finally:
            server.stop(0).wait()


def outage(stack: Stack, kind: str) -> AbstractContextManager[None]:
    collector = stack.processes["collector"]
    match kind:
        case "killed":
            return killed(collector)
        case "hung":
            return hung(collector)
        case "unavailable":
            code = grpc.StatusCode.UNAVAILABLE
        case _:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
    return refusing(collector, stack.ports.otlp_grpc, code)


def complaints(service: Service) -> dict[str, int]:
    """How many lines about telemetry frontend and workers have printed so far."""
    apps = [name for name in service.stack.processes if name.startswith(("frontend", "worker"))]
    return {
        name: sum("opentelemetry" in line for line in service.log(name).splitlines())
        for name in apps
    }


@pytest.mark.parametrize("kind", ["killed", "hung", "unavailable", "exhausted"])
def test_without_the_collector(load: Load, service: Service, kind: str) -> None:
    """Every image is answered, and each process says so in one line at most; afterwards telemetry
    flows again, and what was counted meanwhile is not lost."""
    before = complaints(service)
    with outage(service.stack, kind):
        over = time.monotonic() + OUTAGE_S
        while time.monotonic() < over:
            service.detect()
            time.sleep(0.5)
    after = complaints(service)
    assert max(after[name] - before[name] for name in after) <= 1

    def arrives() -> bool:
        """Whether an image that is sent now leaves a whole trace."""
        trace_id = service.detect().trace_id
        return shape_of(service.trace(trace_id)) == IMAGE

    assert arrives()
    service.wait_until_counted()


def test_without_jaeger(load: Load, service: Service) -> None:
    """Images are detected and counted; what reads traces says that it cannot; traces of the
    time without Jaeger are there once it is back."""
    with killed(service.stack.processes["jaeger"]):
        results = [service.detect() for _ in range(5)]
        service.wait_until_counted()
        for path in ("/api/v1/traces", f"/api/v1/traces/{results[0].trace_id}"):
            answer = service.client.get(path)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert "Jaeger" in answer.json()["detail"]
        assert service.client.get("/readyz").status_code == 200
        page = service.client.get("/pages/traces")
        assert page.status_code == 200
        assert 'role="alert"' in page.text
    for result in results:
        assert shape_of(service.trace(result.trace_id)) == IMAGE


def test_without_prometheus(load: Load, service: Service) -> None:
    """Images are detected and traced; what reads metrics says that it cannot; nothing that was
    counted meanwhile is missing once Prometheus is back."""
    offered = set(service.get("/openapi.json")["paths"])
    store = PrometheusMetrics(f"http://{HOST}:{service.stack.ports.prometheus}")
    try:
        with killed(service.stack.processes["prometheus"]):
            result = service.detect()
            assert shape_of(service.trace(result.trace_id)) == IMAGE
            for path in offered & set(FROM_PROMETHEUS):
                answer = service.client.get(path)
                assert answer.status_code == 503, path
                assert answer.headers["content-type"] == "application/problem+json"
                assert "Prometheus" in answer.json()["detail"]
            with pytest.raises(Unavailable, match="Prometheus"):
                store.latest(catalogue.WORKERS)
            assert service.client.get("/readyz").status_code == 200
        service.wait_until_counted()
        window = Window(load.began_s - 300, time.time())
        counted = eventually(lambda: store.increase(catalogue.REQUESTS, window, by=["outcome"]),
                             timeout_s=ARRIVAL_S)  # fmt: skip
        assert counted[("ok",)] == len(service.record.all)
    finally:
        store.close()
