"""What the processes of this house export to, as the `OTEL_*` variables name it.

Exporters are found by their entry points, as the SDK's own configuration finds them, so that
whatever is installed can be named. `telemetry.variables` has checked the values.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any

# Logs have no other name yet: https://github.com/open-telemetry/opentelemetry-python/pull/2240
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from pipeline.errors import ConfigurationError

#: gRPC waits up to two minutes before it tries a server again that was away for a while, and
#: half a minute before it looks its address up again; telemetry should flow sooner. (The backoff
#: belongs to the address, so the exporters' own new channels do not shorten it.)
GRPC_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.dns_min_time_between_resolutions_ms", 2000),
)
#: What differs from the SDK: a trace can be opened a second after its request, also under load.
SPANS_KEPT = 16384
SPANS_DELAY_MS = 1000
METRICS_INTERVAL_MS = 5000


def span_processors() -> list[SpanProcessor]:
    """One for each exporter of spans."""
    queue = _int("OTEL_BSP_MAX_QUEUE_SIZE", SPANS_KEPT)
    return [
        BatchSpanProcessor(
            exporter,
            max_queue_size=queue,
            schedule_delay_millis=_int("OTEL_BSP_SCHEDULE_DELAY", SPANS_DELAY_MS),
            max_export_batch_size=_int("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(512, queue)),
        )
        for exporter in _exporters("traces")
    ]


def log_processors() -> list[LogRecordProcessor]:
    """One for each exporter of log lines."""
    queue = _int("OTEL_BLRP_MAX_QUEUE_SIZE", 2048)
    return [
        BatchLogRecordProcessor(
            exporter,
            max_queue_size=queue,
            max_export_batch_size=_int("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", min(512, queue)),
        )
        for exporter in _exporters("logs")
    ]


def metric_readers() -> list[MetricReader]:
    """One for each exporter of metrics; some are readers themselves, as Prometheus' is."""
    interval_ms = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", METRICS_INTERVAL_MS))
    return [
        exporter
        if isinstance(exporter, MetricReader)
        else PeriodicExportingMetricReader(exporter, export_interval_millis=interval_ms)
        for exporter in _exporters("metrics")
    ]


def _exporters(signal: str) -> list[Any]:
    """The exporters of `traces`, `metrics` or `logs`. Raises ConfigurationError."""
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    names = [name.strip() for name in _chosen(variable, signal).split(",")]
    made = []
    for name in names:
        if name.lower() == "none":
            continue
        try:
            made.append(_exporter(name, signal))
        except Exception as error:  # whatever someone's exporter raises
            raise ConfigurationError(f"{variable}={name}: does not start: {error}") from error
    return made


def _chosen(variable: str, signal: str) -> str:
    """What a variable says; without it only spans and metrics are sent, if there is an endpoint."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    somewhere = signal != "logs" and any(os.environ.get(name) for name in endpoints)
    return os.environ.get(variable) or ("otlp" if somewhere else "none")


def _exporter(name: str, signal: str) -> Any:
    options: dict[str, Any] = {}
    if name == "otlp":  # the two transports import much; a process loads only the one it uses
        name = "otlp_proto_grpc" if _otlp(signal, "PROTOCOL") == "grpc" else "otlp_proto_http"
    if name == "otlp_proto_grpc":
        options["channel_options"] = GRPC_OPTIONS
        options["compression"] = _grpc_compression(signal)
    (entry, *_) = entry_points(group=f"opentelemetry_{signal}_exporter", name=name)
    return entry.load()(**options)


def _grpc_compression(signal: str) -> Any:
    """gRPC's exporters read no `none`, nor `deflate`, from the environment."""
    import grpc

    names = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
    return names.get(_otlp(signal, "COMPRESSION").lower(), grpc.Compression.NoCompression)


def _otlp(signal: str, what: str) -> str:
    """A setting of OTLP for one signal, or for all of them; empty when it is unset."""
    of_all, of_one = (f"OTEL_EXPORTER_OTLP_{part}{what}" for part in ("", f"{signal.upper()}_"))
    return (os.environ.get(of_one) or os.environ.get(of_all) or "").strip()


def _int(name: str, default: int) -> int:
    return int(os.environ.get(name, default))
