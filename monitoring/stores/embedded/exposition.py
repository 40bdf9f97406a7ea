"""What a Prometheus that scrapes reads: each series' last reading, of every process that lives.

Names, labels and values are those that the Collector of the full stack makes of the same exports:
`job` and `instance` are the sender's service.name and service.instance.id. Of metrics of the
catalogue alone; exemplars are not kept, so that there are none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import INF, floatToGoString

from monitoring.stores.contract import HOST_ID, LIVE_S, SERVICE_INSTANCE, SERVICE_NAME
from monitoring.stores.embedded.otlp_metrics import KINDS
from monitoring.stores.embedded.points import unpack
from monitoring.stores.embedded.schema import Readers
from telemetry import catalogue
from telemetry.definitions import Metric as Definition

#: The newest reading comes last. Deltas (whose streams begin at 0) are no totals, and are left out.
_LIVE = """
    SELECT series.metric, series.kind, series.attributes, series.bounds,
        stream.instance, stream.value, stream.counts
    FROM stream JOIN series ON series.id = stream.series
    WHERE stream.room = 'own' AND stream.heard_s >= ? AND stream.time_ns >= ?
        AND (stream.start_ns > 0 OR series.kind = 'gauge')
    ORDER BY stream.time_ns
"""
#: Resource attributes among a series' own.
_RESOURCE = (SERVICE_NAME, SERVICE_INSTANCE, HOST_ID)

#: One series: its labels, value (a histogram's sum), bounds and counts of its buckets.
_Sample = tuple[dict[str, str], float, tuple[float, ...], tuple[int, ...]]


class Exposition(Collector):
    """The store's live series in Prometheus' text format or OpenMetrics, as a scrape asks."""

    def __init__(self, readers: Readers, clock: Callable[[], float] = time.time) -> None:
        self._readers, self._clock = readers, clock

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The body of an answer, in the format that an Accept header asks for, and its content
        type. Raises Unavailable when the store cannot be read."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is none
            encode, content_type = choose_encoder("")
        return encode(self), content_type

    def collect(self) -> Iterator[Metric]:
        """Every metric with its series."""
        found, hosts = self._read()
        for metric, samples in found.items():
            yield _family(metric, samples)
        if hosts:
            target = InfoMetricFamily("target", "Which host a process runs on.")
            for (job, instance), host in hosts.items():
                target.add_metric((), {"job": job, "instance": instance, "host_id": host})
            yield target

    def _read(self) -> tuple[dict[Definition, list[_Sample]], dict[tuple[str, str], str]]:
        since_s = self._clock() - LIVE_S
        # By labels, so that of one process that began anew under its name only the later is here.
        series: dict[Definition, dict[tuple[tuple[str, str], ...], _Sample]] = {}
        hosts: dict[tuple[str, str], str] = {}
        with self._readers.connection() as connection:
            for name, kind, text, bounds, instance, value, counts in connection.execute(
                _LIVE, (since_s, int(since_s * 1e9))
            ):
                metric = catalogue.METRICS.get(name)
                if metric is None or KINDS[metric.kind] != kind:
                    continue  # another release's
                attributes: dict[str, str] = json.loads(text)
                own = {key: each for key, each in attributes.items() if key not in _RESOURCE}
                job = attributes.get(SERVICE_NAME, "")
                labels = {**_named(own), "job": job, "instance": instance}
                if host := attributes.get(HOST_ID):
                    hosts[job, instance] = host
                series.setdefault(metric, {})[tuple(sorted(labels.items()))] = (
                    labels, value, tuple(json.loads(bounds)), unpack(counts),
                )  # fmt: skip
        return {metric: list(found.values()) for metric, found in series.items()}, hosts


def _named(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as labels: Prometheus knows no dots."""
    return {name.replace(".", "_"): value for name, value in attributes.items()}


def _family(metric: Definition, samples: list[_Sample]) -> Metric:
    """One metric of the catalogue under its name in Prometheus."""
    names = sorted({label for labels, *_ in samples for label in labels})
    family: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
    if metric.kind == "histogram":
        family = HistogramMetricFamily(metric.exported, metric.description, labels=names)
        for labels, total, bounds, counts in samples:
            # As the Collector writes them, which is Go's way.
            limits = [floatToGoString(bound) for bound in (*bounds, INF)]  # type: ignore[no-untyped-call]
            buckets = list(zip(limits, map(float, accumulate(counts)), strict=True))
            family.add_metric([labels.get(name, "") for name in names], buckets, total)
        return family
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.exported, metric.description, labels=names)
    for labels, value, *_ in samples:
        family.add_metric([labels.get(name, "") for name in names], value)
    return family
