"""The standard variables of OpenTelemetry that frontend and workers go by, each with what it takes.

The SDK reads most of them itself, and where a value makes no sense it goes on with another one.
Here such a value ends the start, as a setting of our own would.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from itertools import chain

from pipeline.errors import ConfigurationError
from telemetry import accepted
from telemetry.accepted import Check

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
#: Field in which a frontend's own receiver wants its token.
TOKEN_HEADER = "x-damoscope-token"
SIGNALS = ("TRACES", "METRICS", "LOGS")


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the table in docs/settings.md."""

    name: str
    default: str
    meaning: str
    check: Check = accepted.anything
    #: Whether its value is a secret, which no message repeats.
    secret: bool = False
    #: The same for one signal, such as `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
    by_signal: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The variable and, where there are, those for one signal."""
        if not self.by_signal:
            return (self.name,)
        prefix = "OTEL_EXPORTER_OTLP_"
        rest = self.name.removeprefix(prefix)
        return (self.name, *(f"{prefix}{signal}_{rest}" for signal in SIGNALS))


def _otlp(name: str, default: str, meaning: str, check: Check, *, secret: bool = False) -> Variable:
    return Variable(f"OTEL_EXPORTER_OTLP_{name}", default, meaning, check, secret, by_signal=True)


def _batches(prefix: str, what: str, queue: int) -> tuple[Variable, ...]:
    return (
        Variable(
            f"{prefix}_SCHEDULE_DELAY", "1000", f"Milliseconds between two exports of {what}.",
            accepted.integer(1),
        ),
        Variable(
            f"{prefix}_EXPORT_TIMEOUT", "30000",
            f"Milliseconds that an export of {what} may take.", accepted.integer(1),
        ),
        Variable(
            f"{prefix}_MAX_QUEUE_SIZE", str(queue), f"Most {what} kept while nobody takes them.",
            accepted.integer(1),
        ),
        Variable(
            f"{prefix}_MAX_EXPORT_BATCH_SIZE", "512",
            f"Most {what} in one export; not more than the queue's size.", accepted.integer(1),
        ),
    )  # fmt: skip


def _limit(name: str, default: str, meaning: str) -> Variable:
    return Variable(f"OTEL_{name}_LIMIT", default, meaning, accepted.limit)


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "OTEL_SDK_DISABLED", "`false`",
        "`true`: no spans, metrics or logs are made; a caller's trace is passed on.",
        accepted.boolean,
    ),
    Variable(
        "OTEL_SERVICE_NAME", "`damoscope-frontend`, `damoscope-worker`",
        "The service's name. Alerts on silent processes, and images read from Jaeger, go by the "
        "defaults.",
    ),
    Variable(
        "OTEL_RESOURCE_ATTRIBUTES", "unset",
        "`name=value` pairs separated by commas, added to every span, metric and log line; they "
        "win over ours, such as `service.instance.id` and `host.id`.",
        accepted.pairs,
    ),
    Variable(
        "OTEL_PROPAGATORS", "`tracecontext,baggage`",
        "Headers that carry the trace, and the fields of the job: `tracecontext`, `baggage`, `b3`, "
        "`b3multi`, `jaeger`, `none`, or any that is installed.",
        accepted.installed("opentelemetry_propagator", "none"),
    ),
    Variable(
        "OTEL_TRACES_SAMPLER", "`parentbased_always_on`",
        "Which traces are kept: `always_on`, `always_off`, `traceidratio`, each also with "
        "`parentbased_` before it, or any that is installed. Metrics do not depend on it.",
        accepted.sampler,
    ),
    Variable(
        "OTEL_TRACES_SAMPLER_ARG", "unset",
        "The sampler's argument; for `traceidratio` the share to keep, 0 to 1.",
    ),
    Variable(
        "OTEL_SEMCONV_STABILITY_OPT_IN", "`http`",
        "Conventions of the spans of HTTP requests: `http`, the stable ones; `http/dup`, the old "
        "ones too.",
    ),
    Variable(
        "OTEL_PYTHON_ID_GENERATOR", "`random`", "What makes the ids of traces and spans.",
        accepted.installed("opentelemetry_id_generator"),
    ),
    Variable(
        "OTEL_TRACES_EXPORTER", "`otlp` when there is an endpoint, else `none`",
        "Where spans go: `otlp`, `console`, `none`, or any that is installed; several with commas.",
        accepted.exporters("traces"),
    ),
    Variable(
        "OTEL_METRICS_EXPORTER", "`otlp` when there is an endpoint, else `none`",
        "The same for metrics; also `prometheus`, which each process serves at a port of its own.",
        accepted.exporters("metrics"),
    ),
    Variable(
        "OTEL_LOGS_EXPORTER", "`otlp` on a single machine, to the frontend's own receiver, "
        "else `none`",
        "The same for log lines, which also go to stderr.",
        accepted.exporters("logs"),
    ),
    _otlp(
        "ENDPOINT", "the frontend's own receiver on a single machine, else unset",
        "Where OTLP goes. Unset: spans and metrics are made but not sent.",
        accepted.endpoint,
    ),
    _otlp("PROTOCOL", "`http/protobuf`", "Or `grpc`.", accepted.one_of("grpc", "http/protobuf")),
    _otlp(
        "HEADERS", "unset", "`name=value` pairs sent along, such as an authorization. Secret.",
        accepted.pairs, secret=True,
    ),
    _otlp("TIMEOUT", "`10`", "Seconds that one request may take.", accepted.number_above_0),
    _otlp(
        "COMPRESSION", "`none`", "Or `gzip`; by HTTP also `deflate`.",
        accepted.one_of("none", "gzip", "deflate"),
    ),
    _otlp(
        "CERTIFICATE", "the system's", "File of the authorities that the receiver is trusted by.",
        accepted.authorities,
    ),
    _otlp(
        "CLIENT_CERTIFICATE", "unset", "File of this side's certificate, where one is asked for.",
        accepted.readable,
    ),
    _otlp("CLIENT_KEY", "unset", "File of its key.", accepted.readable),
    _otlp("INSECURE", "`false`", "`true`: gRPC without TLS.", accepted.boolean),
    *_batches("OTEL_BSP", "spans", 16384),
    *_batches("OTEL_BLRP", "log lines", 2048),
    Variable(
        "OTEL_METRIC_EXPORT_INTERVAL", "5000", "Milliseconds between two exports of metrics.",
        accepted.number_above_0,
    ),
    Variable(
        "OTEL_METRIC_EXPORT_TIMEOUT", "30000", "Milliseconds that an export of metrics may take.",
        accepted.number_above_0,
    ),
    Variable(
        "OTEL_METRICS_EXEMPLAR_FILTER", "`trace_based`",
        "Which values may name their trace: `always_on`, `always_off`, `trace_based`.",
        accepted.one_of("always_on", "always_off", "trace_based"),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "`cumulative`",
        "Or `delta`, `lowmemory`. The pages read cumulative metrics.",
        accepted.one_of("cumulative", "delta", "lowmemory"),
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "`explicit_bucket_histogram`",
        "Or `base2_exponential_bucket_histogram`. The pages read explicit buckets.",
        accepted.one_of("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
    ),
    Variable("OTEL_EXPORTER_PROMETHEUS_HOST", "`localhost`", "Where `prometheus` listens."),
    Variable(
        "OTEL_EXPORTER_PROMETHEUS_PORT", "9464",
        "On which port; each process of a host needs its own.", accepted.port,
    ),
    _limit("ATTRIBUTE_COUNT", "128", "Attributes of one span, event or link."),
    _limit("ATTRIBUTE_VALUE_LENGTH", "unset", "Characters of an attribute's value."),
    _limit("SPAN_ATTRIBUTE_COUNT", "128", "Attributes of one span."),
    _limit("SPAN_ATTRIBUTE_VALUE_LENGTH", "unset", "Characters of a span's attribute."),
    _limit("SPAN_EVENT_COUNT", "128", "Events of one span."),
    _limit("SPAN_LINK_COUNT", "128", "Links of one span, such as a batch's to its images."),
    _limit("EVENT_ATTRIBUTE_COUNT", "128", "Attributes of one event."),
    _limit("LINK_ATTRIBUTE_COUNT", "128", "Attributes of one link."),
    _limit("LOGRECORD_ATTRIBUTE_COUNT", "128", "Attributes of one log line."),
    _limit("LOGRECORD_ATTRIBUTE_VALUE_LENGTH", "unset", "Characters of a log line's attribute."),
)  # fmt: skip


def check(environ: MutableMapping[str, str] = os.environ) -> None:
    """Drop empty `OTEL_` variables, which count as unset, and refuse values that cannot be right.

    Raises ConfigurationError, which names the variable and its value.
    """
    for name in [name for name, value in environ.items() if name.startswith("OTEL_")]:
        if not environ[name].strip():
            del environ[name]
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return  # nothing of the rest is used
    for variable in VARIABLES:
        for name in variable.names:
            if name in environ:
                _check(variable, name, environ)
    for prefix, queue in (("OTEL_BSP", 16384), ("OTEL_BLRP", 2048)):
        size, name = f"{prefix}_MAX_QUEUE_SIZE", f"{prefix}_MAX_EXPORT_BATCH_SIZE"
        if int(environ.get(name, 0)) > int(environ.get(size, queue)):
            raise ConfigurationError(
                f"{name}={environ[name]}: is more than {size}={environ.get(size, queue)}"
            )
    _check_argument(environ)


def send_to(environ: MutableMapping[str, str], endpoint: str, token: str) -> None:
    """Send everything, log lines too, to an OTLP/HTTP receiver of ours, unless the user names
    another. The receiver's token goes to it alone, beside whatever headers the user has set:
    where one signal has an endpoint of its own, that is not told."""
    if ENDPOINT in environ:
        return
    environ[ENDPOINT] = endpoint
    environ.setdefault("OTEL_LOGS_EXPORTER", "otlp")
    of_all = environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    for signal in ("TRACES", "METRICS", "LOGS"):
        if f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT" in environ:
            continue
        name = f"OTEL_EXPORTER_OTLP_{signal}_HEADERS"
        others = environ.get(name) or of_all
        environ[name] = ",".join(filter(None, [others, f"{TOKEN_HEADER}={token}"]))


def _check(variable: Variable, name: str, environ: MutableMapping[str, str]) -> None:
    try:
        variable.check(environ[name].strip())
    except ValueError as error:
        value = "..." if variable.secret else environ[name]
        raise ConfigurationError(f"{name}={value}: {error}") from error


def _check_argument(environ: MutableMapping[str, str]) -> None:
    sampler, name = environ.get("OTEL_TRACES_SAMPLER", ""), "OTEL_TRACES_SAMPLER_ARG"
    if not sampler.strip().lower().endswith("traceidratio") or name not in environ:
        return
    try:
        accepted.share(environ[name])
    except ValueError as error:
        raise ConfigurationError(f"{name}={environ[name]}: {error}") from error


def documented() -> list[tuple[str, str, str]]:
    """Rows of the table in docs/settings.md, its head first."""
    rows = [("variable", "default here", "")]
    for each in VARIABLES:
        more = ", or `_TRACES_`, `_METRICS_`, `_LOGS_` after `OTLP`" if each.by_signal else ""
        default = f"`{each.default}`" if each.default.isdigit() else each.default
        rows.append((f"`{each.name}`{more}", default, each.meaning))
    return rows


def known() -> list[str]:
    """Every variable's name, those of one signal too."""
    return list(chain.from_iterable(variable.names for variable in VARIABLES))
