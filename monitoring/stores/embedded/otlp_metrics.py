"""OTLP metrics to readings: one data point of one series from one process."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from monitoring.stores.contract import HOST_ID, SERVICE_INSTANCE, SERVICE_NAME
from monitoring.stores.embedded.limits import (
    BUCKETS_MAX,
    COUNT_MAX,
    EXPORT_MAX_POINTS,
    INSTANCE_MAX,
    NAME_MAX,
    SERIES_MAX_ATTRIBUTES,
    SERIES_MAX_LABELS,
    VALUE_MAX,
    Room,
)
from monitoring.stores.embedded.otlp import (
    MAX_NS,
    MalformedTelemetry,
    Rejected,
    attributes_of,
    resource_attribute,
    service_of,
    text_of,
)
from telemetry import catalogue

#: `counter`: a sum that only grows. `gauge`: a level, be it an OTLP gauge or a sum
#: that goes up and down.
Kind = Literal["counter", "histogram", "gauge"]

_DELTA = pb.AGGREGATION_TEMPORALITY_DELTA
_NO_VALUE = pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
#: What a kind of the catalogue is here.
KINDS: dict[str, Kind] = {
    "counter": "counter",
    "histogram": "histogram",
    "gauge": "gauge",
    "up-down counter": "gauge",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one process says of one series at one time.

    `value` is the counter, the level, or the sum of a histogram; `counts` are a
    histogram's buckets. Both run since `start_ns`, or, where `is_delta`, since the
    reading before (and `start_ns` is 0: all of a process's readings are one stream).
    """

    metric: str
    kind: Kind
    attributes: str  # sorted JSON object of texts
    instance: str
    start_ns: int
    time_ns: int
    value: float
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    is_delta: bool = False
    room: Room = "foreign"


@dataclass(frozen=True, slots=True)
class MetricsExport:
    """One decoded export of metrics."""

    readings: list[Reading] = field(default_factory=list)
    rejected: Rejected = field(default_factory=Rejected)


def decode_metrics(body: bytes) -> MetricsExport:
    """Every data point of an ExportMetricsServiceRequest that the store takes."""
    try:
        message = ExportMetricsServiceRequest.FromString(body)
    except DecodeError as error:
        raise MalformedTelemetry(f"not an ExportMetricsServiceRequest: {error}") from error
    export = MetricsExport()
    left = EXPORT_MAX_POINTS
    for group in message.resource_metrics:
        sender = _Sender.of(group.resource)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                count = _count(metric)
                if fault := _fault(metric, sender, count <= left):
                    export.rejected.add(fault, count)
                    continue
                left -= count
                export.readings.extend(_readings(metric, sender, export.rejected))
    return export


@dataclass(frozen=True, slots=True)
class _Sender:
    """The process that reports, as far as labels tell."""

    service: str
    instance: str
    host: str

    @classmethod
    def of(cls, resource: Resource) -> _Sender:
        instance = resource_attribute(resource, SERVICE_INSTANCE)
        return cls(service_of(resource), instance, resource_attribute(resource, HOST_ID))

    def labels(self, kind: Kind) -> dict[str, str]:
        """Levels are kept by process; what is added up is merged over all of a service."""
        own = {SERVICE_NAME: self.service}
        if kind == "gauge":
            own[SERVICE_INSTANCE] = self.instance
            if self.host:
                own[HOST_ID] = self.host
        return own


def _count(metric: pb.Metric) -> int:
    data = metric.WhichOneof("data")
    return len(getattr(metric, data).data_points) if data else 0


def _fault(metric: pb.Metric, sender: _Sender, is_room: bool) -> str | None:
    if not is_room:
        return f"more than {EXPORT_MAX_POINTS} data points in an export"
    if not 0 < len(metric.name) <= NAME_MAX:
        return f"a metric without a name, or with one of more than {NAME_MAX} characters"
    identity = (sender.service, sender.instance, sender.host)
    if any(len(text) > INSTANCE_MAX for text in identity):
        return f"a resource whose identity has more than {INSTANCE_MAX} characters"
    return None


def _readings(metric: pb.Metric, sender: _Sender, rejected: Rejected) -> Iterator[Reading]:
    match metric.WhichOneof("data"):
        case "gauge":
            yield from _numbers(metric, metric.gauge.data_points, "gauge", False, sender, rejected)
        case "sum":
            kind: Kind = "counter" if metric.sum.is_monotonic else "gauge"
            is_delta = metric.sum.aggregation_temporality == _DELTA
            yield from _numbers(metric, metric.sum.data_points, kind, is_delta, sender, rejected)
        case "histogram":
            yield from _histograms(metric, sender, rejected)
        case "exponential_histogram":
            count = len(metric.exponential_histogram.data_points)
            rejected.add(f"{metric.name}: exponential histograms are not taken", count)
        case "summary":
            rejected.add(f"{metric.name}: summaries are not taken", len(metric.summary.data_points))


def _numbers(
    metric: pb.Metric,
    points: Iterable[pb.NumberDataPoint],
    kind: Kind,
    is_delta: bool,
    sender: _Sender,
    rejected: Rejected,
) -> Iterator[Reading]:
    for point in points:
        if point.flags & _NO_VALUE:
            continue
        value = float(getattr(point, point.WhichOneof("value") or "as_double"))
        if not abs(value) <= VALUE_MAX or not _has_time(point):  # NaN is not
            rejected.add(f"{metric.name}: a point without a valid value or time")
            continue
        labels = _labels(point.attributes)
        if labels is None:
            rejected.add(f"{metric.name}: a point with too many attributes, or too long ones")
            continue
        yield Reading(
            metric=metric.name,
            kind=kind,
            attributes=_json({**labels, **sender.labels(kind)}),
            instance=sender.instance,
            # A level needs no start: a new reading replaces the one before.
            start_ns=0 if kind == "gauge" or is_delta else point.start_time_unix_nano,
            time_ns=point.time_unix_nano,
            value=value,
            is_delta=is_delta,
            room=_room(metric.name, kind, labels),
        )


def _histograms(metric: pb.Metric, sender: _Sender, rejected: Rejected) -> Iterator[Reading]:
    is_delta = metric.histogram.aggregation_temporality == _DELTA
    for point in metric.histogram.data_points:
        if point.flags & _NO_VALUE:
            continue
        bounds = tuple(point.explicit_bounds)
        # A histogram may leave its buckets out: it is one bucket without bounds then.
        counts = tuple(point.bucket_counts) or (point.count,)
        if not (_has_time(point) and abs(point.sum) <= VALUE_MAX and _is_histogram(bounds, counts)):
            rejected.add(f"{metric.name}: a point without valid buckets, sum or time")
            continue
        labels = _labels(point.attributes)
        if labels is None:
            rejected.add(f"{metric.name}: a point with too many attributes, or too long ones")
            continue
        yield Reading(
            metric=metric.name,
            kind="histogram",
            attributes=_json({**labels, **sender.labels("histogram")}),
            instance=sender.instance,
            start_ns=0 if is_delta else point.start_time_unix_nano,
            time_ns=point.time_unix_nano,
            value=point.sum,
            bounds=bounds,
            counts=counts,
            is_delta=is_delta,
            room=_room(metric.name, "histogram", labels),
        )


def _is_histogram(bounds: tuple[float, ...], counts: tuple[int, ...]) -> bool:
    return (
        len(counts) == len(bounds) + 1 <= BUCKETS_MAX
        and all(map(math.isfinite, bounds))
        and all(low < high for low, high in pairwise(bounds))
        and sum(counts) < COUNT_MAX
    )


def _has_time(point: pb.NumberDataPoint | pb.HistogramDataPoint) -> bool:
    return 0 < point.time_unix_nano <= MAX_NS and point.start_time_unix_nano <= MAX_NS


def _labels(items: Sequence[KeyValue]) -> dict[str, str] | None:
    """Attributes as texts; None where they are too many or too long."""
    if len(items) > SERIES_MAX_ATTRIBUTES:
        return None
    if sum(item.ByteSize() for item in items) > SERIES_MAX_LABELS:
        return None
    return {name: text_of(value) for name, value in attributes_of(items).items()}


def _room(name: str, kind: Kind, labels: Mapping[str, str]) -> Room:
    """Whether a series is one that the catalogue has."""
    known = catalogue.METRICS.get(name)
    if known is None or KINDS[known.kind] != kind:
        return "foreign"
    for label, value in labels.items():
        values = known.attributes.get(label)
        if values is None or (values and value not in values):
            return "foreign"
    return "own"


def _json(labels: Mapping[str, str]) -> str:
    return json.dumps(labels, sort_keys=True, separators=(",", ":"))
