"""Metrics exports with times and values of one's choosing, as OTLP messages."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from telemetry import catalogue
from telemetry.definitions import Metric

CUMULATIVE = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = pb.AGGREGATION_TEMPORALITY_DELTA


class Process:
    """One process's meter: `instance` and start time are its own."""

    def __init__(
        self,
        instance: str = "one",
        start_s: float = 1.0,
        service: str = catalogue.SERVICE_FRONTEND,
        temporality: int = CUMULATIVE,
        host: str = "",
    ) -> None:
        identity = {"service.name": service, "service.instance.id": instance}
        self.resource = _attributes(identity | ({"host.id": host} if host else {}))
        self.start_ns = int(start_s * 1e9)
        self.temporality = temporality

    def counter(
        self, metric: Metric, time_s: float, value: float, *, monotonic: bool = True, **labels: str
    ) -> bytes:
        """A sum's data point."""
        number = {"as_int": value} if isinstance(value, int) else {"as_double": value}
        point = pb.NumberDataPoint(**number, **self._point(time_s, labels))
        data = pb.Sum(
            data_points=[point],
            is_monotonic=monotonic,
            aggregation_temporality=self.temporality,  # type: ignore[arg-type]
        )
        return self._export(pb.Metric(name=metric.name, sum=data))

    def gauge(self, metric: Metric, time_s: float, value: float, **labels: str) -> bytes:
        """A gauge's data point."""
        point = pb.NumberDataPoint(as_double=value, **self._point(time_s, labels))
        return self._export(pb.Metric(name=metric.name, gauge=pb.Gauge(data_points=[point])))

    def histogram(
        self,
        metric: Metric,
        time_s: float,
        values: Sequence[float],
        bounds: Sequence[float] = catalogue.DURATION_BUCKETS_S,
        **labels: str,
    ) -> bytes:
        """A histogram's data point with all these values in it."""
        counts = [0] * (len(bounds) + 1)
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        point = pb.HistogramDataPoint(
            count=len(values),
            sum=sum(values),
            bucket_counts=counts,
            explicit_bounds=bounds,
            **self._point(time_s, labels),
        )
        data = pb.Histogram(
            data_points=[point],
            aggregation_temporality=self.temporality,  # type: ignore[arg-type]
        )
        return self._export(pb.Metric(name=metric.name, histogram=data))

    def _point(self, time_s: float, labels: Mapping[str, str]) -> dict[str, object]:
        return {
            "attributes": _attributes(labels),
            "start_time_unix_nano": self.start_ns,
            "time_unix_nano": int(time_s * 1e9),
        }

    def _export(self, metric: pb.Metric) -> bytes:
        export = ExportMetricsServiceRequest()
        group = export.resource_metrics.add()
        group.resource.attributes.extend(self.resource)
        group.scope_metrics.add().metrics.append(metric)
        return export.SerializeToString()


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]
