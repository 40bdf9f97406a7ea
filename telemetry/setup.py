"""Start and stop the OpenTelemetry SDK in one process.

Call `start` after the process was spawned, never before a fork: a forked child
would export its parent's cumulative counts a second time. The standard `OTEL_*`
variables decide where telemetry goes and how; the defaults differ from the SDK's
only in that exports are quicker (a trace can be opened a second after its request)
and that nothing is sent when no endpoint is known.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from opentelemetry import metrics, propagate, trace
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry.instruments import Instruments
from telemetry.spans import SCOPE

#: Seconds after the start during which exports that fail are not logged.
GRACE_S = 15.0
#: gRPC waits up to two minutes before it tries a server again that was away for a while, and
#: half a minute before it looks its address up again; telemetry should flow sooner. (The backoff
#: belongs to the address, so the exporters' own new channels do not shorten it.)
GRPC_OPTIONS: Any = (  # the exporters' own annotation allows for one pair of strings
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.dns_min_time_between_resolutions_ms", 2000),
)
#: What of `opentelemetry-instrumentation-system-metrics` is reported by every process.
SYSTEM_METRICS = {
    "process.cpu.utilization": ["user", "system"],
    "process.memory.usage": None,
    "system.cpu.utilization": ["idle", "user", "system", "irq"],
    "system.memory.usage": ["used", "free", "cached"],
    "system.memory.utilization": ["used", "free", "cached"],
}


@dataclass(frozen=True)
class Telemetry:
    """The tracer and the instruments of this process, and their orderly end."""

    tracer: trace.Tracer
    instruments: Instruments
    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    _ended: threading.Event = field(default_factory=threading.Event)

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Send what is left, then stop exporting; returns after `timeout_s` at the latest.

        A collector that is away or hangs must not hold up the end of a process, so what it
        has not taken by then is given up.
        """
        if self._ended.is_set():
            return
        self._ended.set()
        ending = threading.Thread(target=self._shutdown, name="telemetry-end", daemon=True)
        ending.start()
        ending.join(timeout_s)

    def _shutdown(self) -> None:
        SystemMetricsInstrumentor().uninstrument()
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def start(service: str, environ: Mapping[str, str] = os.environ) -> Telemetry:
    """Build the providers of this process and make them global.

    Without an endpoint in `environ` spans and metrics are made but not sent.
    """
    _quiet_exporters()
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    resource = Resource.create(_resource(service))
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    readers = []
    if _wanted(environ, "TRACES"):
        tracer_provider.add_span_processor(
            BatchSpanProcessor(
                _span_exporter(environ),
                max_queue_size=_int(environ, "OTEL_BSP_MAX_QUEUE_SIZE", 16384),
                schedule_delay_millis=_int(environ, "OTEL_BSP_SCHEDULE_DELAY", 1000),
                max_export_batch_size=_int(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            )
        )
    if _wanted(environ, "METRICS"):
        interval_ms = _int(environ, "OTEL_METRIC_EXPORT_INTERVAL", 5000)
        readers.append(
            PeriodicExportingMetricReader(
                _metric_exporter(environ), export_interval_millis=interval_ms
            )
        )
    meter_provider = MeterProvider(
        resource=resource, metric_readers=readers, shutdown_on_exit=False
    )
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(meter_provider)
    SystemMetricsInstrumentor(config=SYSTEM_METRICS).instrument(meter_provider=meter_provider)
    return Telemetry(
        tracer=tracer_provider.get_tracer(SCOPE),
        instruments=Instruments.create(meter_provider.get_meter(SCOPE)),
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )


def _wanted(environ: Mapping[str, str], signal: str) -> bool:
    """Whether a signal has somewhere to go; `OTEL_<SIGNAL>_EXPORTER=none` switches it off."""
    if environ.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() == "none":
        return False
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(environ.get(name) for name in names)


def _protocol(environ: Mapping[str, str], signal: str) -> str:
    specific = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL")
    return specific or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"


def _span_exporter(environ: Mapping[str, str]) -> SpanExporter:
    # The two transports import much; a process loads only the one it uses.
    if _protocol(environ, "TRACES") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        return Grpc(channel_options=GRPC_OPTIONS)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http()


def _metric_exporter(environ: Mapping[str, str]) -> MetricExporter:
    if _protocol(environ, "METRICS") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
            OTLPMetricExporter as Grpc,
        )

        return Grpc(channel_options=GRPC_OPTIONS)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

    return Http()


def _resource(service: str) -> dict[str, str | int]:
    try:
        release = version("damoscope")
    except PackageNotFoundError:
        release = "0"
    return {
        "service.name": service,
        "service.version": release,
        "service.instance.id": str(uuid4()),
        "host.id": host_id(),
        "host.name": platform.node(),
        "process.pid": os.getpid(),
    }


def host_id() -> str:
    """A stable id of this host that does not give away the machine id it is made from."""
    try:
        seed = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        seed = ""
    # A container without a machine id is a host of its own: its name is its id.
    return hashlib.sha256((seed or platform.node()).encode()).hexdigest()[:32]


def _int(environ: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environ.get(name, default))
    except ValueError:
        return default


class OncePerMinute(logging.Filter):
    """Lets through one record a minute of each logger: telemetry that fails must not shout.

    The first `GRACE_S` of a process are silent: its receiver may just be starting as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}
        self._silent_until = time.monotonic() + GRACE_S

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._silent_until:
            return False
        if now - self._last.get(record.name, -60.0) < 60.0:
            return False
        self._last[record.name] = now
        record.exc_info = None  # the line is enough; a stack of urllib3 says no more
        return True


def _quiet_exporters() -> None:
    """Bound what the SDK's exporters log when nobody takes the telemetry."""
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("opentelemetry."):
            _filter_once(logging.getLogger(name))
    for name in (
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.exporter.otlp.proto.http.metric_exporter",
        "opentelemetry.exporter.otlp.proto.grpc.exporter",
        "opentelemetry.sdk._shared_internal",
        "opentelemetry.sdk.metrics._internal.export",
        "opentelemetry.sdk.trace.export",
    ):
        _filter_once(logging.getLogger(name))


def _filter_once(logger: logging.Logger) -> None:
    if not any(isinstance(existing, OncePerMinute) for existing in logger.filters):
        logger.addFilter(OncePerMinute())
