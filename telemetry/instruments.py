"""The catalogue's metrics as instruments of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from telemetry.catalogue import MALFORMED, METRICS
from telemetry.definitions import Counter, Gauge, Histogram, Level

#: What of a metric's attributes one value has.
Labels = Mapping[str, str]
#: Reads a level, for each of its attributes' values.
Read = Callable[[CallbackOptions], Iterable[Observation]]


class Instruments:
    """Counters, histograms and levels by their entries in telemetry.catalogue.

    Add and record with the context of the span concerned, so that exemplars carry its trace id.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._counters = {
            each: meter.create_counter(each.name, each.unit, each.description)
            for each in METRICS.values()
            if isinstance(each, Counter)
        }
        self._histograms = {
            each: meter.create_histogram(
                each.name,
                each.unit,
                each.description,
                explicit_bucket_boundaries_advisory=each.buckets,
            )
            for each in METRICS.values()
            if isinstance(each, Histogram)
        }

    def add(
        self,
        counter: Counter,
        value: float = 1,
        labels: Labels | None = None,
        context: Context | None = None,
    ) -> None:
        """Count `value` more."""
        self._counters[counter].add(value, labels, context)

    def malformed(self, kind: str, count: int) -> None:
        """Count entries in Redis that were refused."""
        self.add(MALFORMED, count, {"kind": kind})

    def record(
        self,
        histogram: Histogram,
        value: float,
        labels: Labels | None = None,
        context: Context | None = None,
    ) -> None:
        """Put in one value."""
        self._histograms[histogram].record(value, labels, context)

    def observe(self, level: Level, read: Read) -> None:
        """Have a level read whenever metrics are exported."""
        create = (
            self._meter.create_observable_gauge
            if isinstance(level, Gauge)
            else self._meter.create_observable_up_down_counter
        )
        create(level.name, [read], level.unit, level.description)
