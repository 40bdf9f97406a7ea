"""Which stores answer: the embedded one, or Prometheus and Jaeger where they are named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from monitoring.stores.contract import MetricsStore, TraceStore
from monitoring.stores.embedded.metrics import EmbeddedMetrics
from monitoring.stores.embedded.otlp import Rejected
from monitoring.stores.embedded.schema import Readers
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.embedded.traces import EmbeddedTraces
from monitoring.stores.jaeger import JaegerTraces
from monitoring.stores.prometheus import PrometheusMetrics
from pipeline.settings import Settings

#: Name of the embedded store's file in the data folder.
FILE_NAME = "telemetry.db"


class Receiver(Protocol):
    """Takes OTLP exports, encoded as protobuf; see EmbeddedStore for what is raised."""

    def receive_traces(self, body: bytes) -> Rejected: ...

    def receive_metrics(self, body: bytes) -> Rejected: ...

    def receive_logs(self, body: bytes) -> Rejected: ...

    def begun_anew(self, within_s: float) -> int: ...


class Scraped(Protocol):
    """Says all that was last measured, in the format that an Accept header asks for."""

    def text(self, accept: str = "") -> tuple[bytes, str]: ...


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores to read from, and the receiver, which only the embedded store has."""

    metrics: MetricsStore
    traces: TraceStore
    receiver: Receiver | None
    #: What a Prometheus may scrape; None where one has the metrics already.
    exposition: Scraped | None
    close: Callable[[], None]


def telemetry_file(settings: Settings) -> Path:
    """Where the embedded store lies."""
    return settings.home / FILE_NAME


def open_stores(settings: Settings) -> Stores:
    """Open what the settings name. Raises ConfigurationError when it cannot be used.

    Prometheus and Jaeger are not asked anything yet: they may come up later.
    """
    return _open(settings, lambda: _embedded(settings))


def open_readers(settings: Settings) -> Stores:
    """The same stores for a process that only reads: no receiver, no writer, no retention.

    The embedded file belongs to the frontend: where it is not there yet, all answers are
    empty, and it is not made.
    """
    return _open(settings, lambda: Readers(telemetry_file(settings)))


def _open(settings: Settings, embedded: Callable[[], EmbeddedStore | Readers]) -> Stores:
    metrics: MetricsStore | None = None
    traces: TraceStore | None = None
    receiver: EmbeddedStore | None = None
    exposition: Scraped | None = None
    with ExitStack() as opened:
        if settings.prometheus_url is not None:
            metrics = opened.enter_context(closing(PrometheusMetrics(settings.prometheus_url)))
        if settings.jaeger_url is not None:
            traces = opened.enter_context(closing(JaegerTraces(settings.jaeger_url)))
        if metrics is None or traces is None:
            file = opened.enter_context(closing(embedded()))
            if isinstance(file, EmbeddedStore):
                receiver = file
                exposition = file.exposition if metrics is None else None
                metrics, traces = metrics or file.metrics, traces or file.traces
            else:
                metrics, traces = metrics or EmbeddedMetrics(file), traces or EmbeddedTraces(file)
        return Stores(metrics, traces, receiver, exposition, opened.pop_all().close)


def _embedded(settings: Settings) -> EmbeddedStore:
    return EmbeddedStore(
        telemetry_file(settings),
        days=settings.telemetry_days,
        max_bytes=settings.telemetry_max_mb * 10**6,
    )
