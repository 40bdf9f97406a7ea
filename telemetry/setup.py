"""Start and stop the OpenTelemetry SDK in one process.

Call `start` after the process was spawned, never before a fork: a forked child
would export its parent's cumulative counts a second time. The standard `OTEL_*`
variables decide where telemetry goes and how; the defaults differ from the SDK's
only in that exports are quicker (a trace can be opened a second after its request)
and that nothing is sent when no endpoint is known.

Providers that are there already, because an agent such as `opentelemetry-instrument` or the
user's own `sitecustomize` has made them, are used as they are.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider, set_logger_provider
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.semconv.schemas import Schemas

from telemetry import accepted, catalogue, exporters, limits, logs, resource, variables
from telemetry.instruments import Instruments

#: The name under which all of our spans and metrics are made.
SCOPE = "damoscope"
#: The semantic conventions that their names follow.
SCHEMA_URL = Schemas.V1_44_0.value
#: What of `opentelemetry-instrumentation-system-metrics` is reported by every process.
SYSTEM_METRICS = {
    metric.name: list(metric.attributes.get("state", ())) or None for metric in catalogue.SYSTEM
}


@dataclass(frozen=True)
class Telemetry:
    """The tracer and the instruments of this process, and their orderly end."""

    tracer: trace.Tracer
    instruments: Instruments
    tracer_provider: trace.TracerProvider
    meter_provider: metrics.MeterProvider
    logger_provider: LoggerProvider | None = None
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
        if SystemMetricsInstrumentor().is_instrumented_by_opentelemetry:
            SystemMetricsInstrumentor().uninstrument()
        for provider in (self.tracer_provider, self.meter_provider, self.logger_provider):
            if isinstance(provider, (TracerProvider, MeterProvider, LoggerProvider)):
                provider.shutdown()


def start(service: str) -> Telemetry:
    """Build the providers of this process and make them global.

    Without an endpoint spans and metrics are made but not sent; with `OTEL_SDK_DISABLED` they are
    not made. Raises ConfigurationError when an `OTEL_` variable makes no sense.
    """
    variables.check()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        tracers: trace.TracerProvider = trace.NoOpTracerProvider()
        meters: metrics.MeterProvider = metrics.NoOpMeterProvider()
        return _telemetry(tracers, meters, None)
    whose = resource.of_this_process(service)
    tracers, meters, loggers = _tracers(whose), _meters(whose), _loggers(whose)
    if not SystemMetricsInstrumentor().is_instrumented_by_opentelemetry:  # by an agent
        config = dict(SYSTEM_METRICS)
        if limits.observe(meters.get_meter(SCOPE, resource.release(), schema_url=SCHEMA_URL)):
            del config[catalogue.SYSTEM_MEMORY.name], config[catalogue.SYSTEM_MEMORY_USAGE.name]
        SystemMetricsInstrumentor(config=config).instrument(meter_provider=meters)
    return _telemetry(tracers, meters, loggers)


def _telemetry(
    tracers: trace.TracerProvider, meters: metrics.MeterProvider, loggers: LoggerProvider | None
) -> Telemetry:
    release = resource.release()
    return Telemetry(
        tracer=tracers.get_tracer(SCOPE, release, schema_url=SCHEMA_URL),
        instruments=Instruments(meters.get_meter(SCOPE, release, schema_url=SCHEMA_URL)),
        tracer_provider=tracers,
        meter_provider=meters,
        logger_provider=loggers,
    )


def _tracers(whose: Resource) -> TracerProvider:
    found = trace.get_tracer_provider()
    if isinstance(found, TracerProvider):
        return found
    made = TracerProvider(
        resource=whose, sampler=_sampler(), id_generator=_id_generator(), shutdown_on_exit=False
    )
    for processor in exporters.span_processors():
        made.add_span_processor(processor)
    trace.set_tracer_provider(made)
    return made


def _meters(whose: Resource) -> MeterProvider:
    found = metrics.get_meter_provider()
    if isinstance(found, MeterProvider):
        return found
    made = MeterProvider(
        resource=whose, metric_readers=exporters.metric_readers(), shutdown_on_exit=False
    )
    metrics.set_meter_provider(made)
    return made


def _loggers(whose: Resource) -> LoggerProvider | None:
    """The provider that log lines are exported by; None when they are not."""
    found = get_logger_provider()
    if isinstance(found, LoggerProvider):
        return found  # whoever made it has its handler installed as well
    processors = exporters.log_processors()
    if not processors:
        return None
    from opentelemetry.instrumentation.logging.handler import LoggingHandler  # where it is used

    made = LoggerProvider(resource=whose, shutdown_on_exit=False)
    for processor in processors:
        made.add_log_record_processor(processor)
    set_logger_provider(made)

    class Handler(LoggingHandler):
        def flush(self) -> None:
            """Not by the handler, whose thread cannot start when Python 3.12 flushes at its end."""

    handler = Handler(logger_provider=made)
    handler.addFilter(logs.not_of_the_exporters)
    logging.getLogger().addHandler(handler)
    return made


def _sampler() -> Sampler | None:
    """A sampler that the user has installed; None for one of the SDK's, which it makes itself."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "always_on").strip()
    if name.lower() in accepted.SAMPLERS:
        return None
    made: Sampler = _load("opentelemetry_traces_sampler", name)(
        os.environ.get("OTEL_TRACES_SAMPLER_ARG")
    )
    return made


def _id_generator() -> IdGenerator | None:
    name = os.environ.get("OTEL_PYTHON_ID_GENERATOR")
    return _load("opentelemetry_id_generator", name.strip())() if name else None


def _load(group: str, name: str) -> Any:
    (entry, *_) = entry_points(group=group, name=name)
    return entry.load()
