"""A Prometheus of its own, told in OTLP what simulated services measure, at their own times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Metric,
    ResourceMetrics,
)

from benchmarks.autoscaling.service import Service
from run import health
from run.processes import Program, Supervisor
from run.stack.binaries import BINARIES, find
from telemetry import catalogue

ROOT = Path(__file__).resolve().parents[2]
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


class Figures:
    """One export of many services: each is known by its label `run`."""

    def __init__(self, now: float) -> None:
        self._at = round(now * 1e9)
        self.request = ExportMetricsServiceRequest()

    def add(self, run: str, service: Service) -> None:
        """What its frontend and its workers would report."""
        frontend = self._process("damoscope-frontend", "f1")
        depth, workers = catalogue.QUEUE_DEPTH.exported, catalogue.WORKERS.exported
        self._value(frontend, run, depth, service.waiting, queue="detections")
        self._value(frontend, run, workers, len(service.workers), state="idle")
        refused = catalogue.QUEUE_REFUSED.exported
        self._count(frontend, run, refused, len(service.refused), queue="detections")
        for worker in service.workers:
            if worker.ready_s * 1e9 > self._at:
                continue
            its = self._process("damoscope-worker", f"{run}-{worker.name}")
            busy = catalogue.WORKER_BUSY.exported
            self._count(its, run, busy, worker.busy_s, provider="cpu")
            self._value(its, run, f"{catalogue.BATCH_SIZE.exported}_sum", worker.images)

    def _process(self, job: str, instance: str) -> ResourceMetrics:
        made = self.request.resource_metrics.add()
        _attribute(made.resource.attributes.add(), "service.name", job)
        _attribute(made.resource.attributes.add(), "service.instance.id", instance)
        made.scope_metrics.add()
        return made

    def _value(
        self, process: ResourceMetrics, run: str, name: str, value: float, **labels: str
    ) -> None:
        metric = process.scope_metrics[0].metrics.add(name=name)
        self._point(metric.gauge.data_points.add(), run, value, labels)

    def _count(
        self, process: ResourceMetrics, run: str, name: str, value: float, **labels: str
    ) -> None:
        # Prometheus adds `_total` itself.
        metric: Metric = process.scope_metrics[0].metrics.add(name=name.removesuffix("_total"))
        metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, CUMULATIVE
        self._point(metric.sum.data_points.add(), run, value, labels)

    def _point(self, point: object, run: str, value: float, labels: dict[str, str]) -> None:
        point.time_unix_nano, point.as_double = self._at, float(value)  # type: ignore[attr-defined]
        for name, text in {"run": run, **labels}.items():
            _attribute(point.attributes.add(), name, text)  # type: ignore[attr-defined]


def _attribute(made: KeyValue, name: str, text: str) -> None:
    made.key, made.value.string_value = name, text


class Server:
    """The server, while it runs."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def take(self, figures: Figures) -> None:
        """Take in one export. Raises httpx.HTTPStatusError."""
        self._http.post(
            "/api/v1/otlp/v1/metrics",
            content=figures.request.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        ).raise_for_status()

    def ask(self, query: str, now: float) -> float | None:
        """What the query gave at that time; None without an answer."""
        answer = self._http.get("/api/v1/query", params={"query": query, "time": now})
        found = answer.raise_for_status().json()["data"]["result"]
        return float(found[0]["value"][1]) if found else None


@contextmanager
def running(folder: Path, port: int) -> Iterator[Server]:
    """Prometheus, empty; nothing of it is left but the folder."""
    (binary,) = (each for each in BINARIES if each.name == "prometheus")
    path = find(binary, ROOT)
    if path is None:
        raise SystemExit("Prometheus is missing: python -m run.stack fetch")
    (folder / "empty.yml").write_text("{}\n")
    program = Program(
        name="prometheus",
        command=[
            str(path), f"--config.file={folder / 'empty.yml'}", f"--storage.tsdb.path={folder}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-otlp-receiver",
        ],
        ready=health.http(f"http://127.0.0.1:{port}/-/ready"),
    )  # fmt: skip
    supervisor = Supervisor(folder)
    try:
        supervisor.start(program)
        supervisor.wait_until_ready(120)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            yield Server(http)
    finally:
        supervisor.stop()
