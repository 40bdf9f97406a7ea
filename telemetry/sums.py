"""Counters and histograms that add to the SDK's sums themselves, at a third of its CPU time.

The SDK makes a measurement of each value and finds the sums of its attributes anew, which takes
some 8 microseconds; an image leaves a dozen values, and a photo of a crowd hundreds of scores. Here
the first value of each set of attributes goes through the SDK, and those after it straight to where
that one was added. Exemplars, collection and export stay the SDK's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import inf
from time import time_ns
from types import MappingProxyType
from typing import Any

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

try:
    from opentelemetry.sdk.metrics._internal import aggregation as _aggregation
    from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes
except ImportError:  # an SDK that is built otherwise: every value goes through it
    _hash_attributes = None  # type: ignore[assignment]

_NONE: Mapping[str, str] = MappingProxyType({})
#: A context that belongs to no span. (An empty one stands for the current context.)
_OUTSIDE = set_span_in_context(INVALID_SPAN, Context())


class Counter:
    """An OpenTelemetry counter with the same `add`."""

    def __init__(self, counter: metrics.Counter) -> None:
        self._counter = counter
        self._sums = _Sums(counter, "_SumAggregation")

    def add(
        self, value: float, attributes: Mapping[str, str] = _NONE, context: Context | None = None
    ) -> None:
        """Count `value` more."""
        found = self._sums.of(attributes)
        if not found or not 0 <= value < inf:
            self._counter.add(value, attributes, context)
            return
        for sums in found:
            with sums._lock:
                sums._value = (sums._value or 0) + value
        self._sums.offer(found, value, attributes, context)


class Histogram:
    """An OpenTelemetry histogram with the same `record`, and one for many values at once."""

    def __init__(self, histogram: metrics.Histogram) -> None:
        self._histogram = histogram
        self._sums = _Sums(histogram, "_ExplicitBucketHistogramAggregation")

    def record(
        self, value: float, attributes: Mapping[str, str] = _NONE, context: Context | None = None
    ) -> None:
        """Put in one value."""
        self.record_all((value,), attributes, context, example=0)

    def record_all(
        self,
        values: Sequence[float],
        attributes: Mapping[str, str] = _NONE,
        context: Context | None = None,
        *,
        example: int,
    ) -> None:
        """Put in one value or more; the one of index `example` is offered as an exemplar."""
        found, total = self._sums.of(attributes), sum(values)
        if not found or not (min(values) >= 0 and total < inf):
            for index, value in enumerate(values):
                here = context if index == example else _OUTSIDE
                self._histogram.record(value, attributes, here)
            return
        for sums in found:
            with sums._lock:
                if sums._value is None:  # just collected
                    sums._value = sums._get_empty_bucket_counts()
                for value in values:
                    sums._value[bisect_left(sums._boundaries, value)] += 1
                sums._sum += total
                if sums._record_min_max:
                    sums._min = min(sums._min, *values)
                    sums._max = max(sums._max, *values)
        self._sums.offer(found, values[example], attributes, context)


class _Sums:
    """Where the SDK adds up one instrument's values."""

    def __init__(self, instrument: Any, kind: str) -> None:
        self._instrument, self._kind = instrument, kind
        #: None where there is no SDK, or it is off.
        self._consumer: Any = getattr(instrument, "_measurement_consumer", None)
        self._storages: object = None
        self._found: dict[tuple[tuple[str, str], ...], list[Any]] = {}

    def of(self, attributes: Mapping[str, str]) -> list[Any]:
        """The sums of these attributes, for each reader of metrics.

        None before a first value has gone through the SDK, nor where summing up is not so simple:
        it is with the SDK's defaults (fixed buckets, cumulative, no view that drops attributes).
        """
        if self._consumer is None or _hash_attributes is None:
            return []
        key = tuple(attributes.items())
        try:
            storages = self._consumer._reader_storages
            if storages is not self._storages:  # a reader came or went
                self._storages, self._found = storages, {}
            found = self._found.get(key)
            if found is None:
                found = self._found[key] = self._look(storages, _hash_attributes(attributes))
            return found
        except (AttributeError, KeyError):
            return []

    def _look(self, storages: Mapping[Any, Any], key: object) -> list[Any]:
        """Raises KeyError before the first value, AttributeError in another SDK."""
        found = []
        for storage in storages.values():
            for match in storage._instrument_view_instrument_matches[self._instrument]:
                sums = match._attributes_aggregation[key]
                simple = type(sums) is getattr(_aggregation, self._kind)
                if match._reset_on_collect or not simple:
                    return []
                found.append(sums)
        return found

    def offer(self, found: list[Any], value: float, attributes: Mapping[str, str],
              context: Context | None) -> None:  # fmt: skip
        """Offer the value as an exemplar, if the SDK would."""
        now_ns, here = time_ns(), context or None  # as in the SDK, an empty context is the current
        if self._consumer._sdk_config.exemplar_filter.should_sample(
            value, now_ns, attributes, here
        ):
            for sums in found:
                sums._reservoir.offer(value, now_ns, attributes, here)
