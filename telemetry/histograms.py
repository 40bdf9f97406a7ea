"""Many values into a histogram at once.

The SDK takes one value at a time, which costs some 8 microseconds; an image may have hundreds of
boxes, each with a score.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from random import randrange
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import Histogram as SdkHistogram

try:
    from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes
    from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
except ImportError:  # an SDK that is built otherwise: one value at a time
    _hash_attributes = None  # type: ignore[assignment]


def record_all(
    histogram: Histogram,
    values: Sequence[float],
    attributes: Mapping[str, str],
    context: Context,
    *,
    example: int | None = None,
) -> None:
    """The same counts, sum, least and greatest value as `histogram.record` of each value.

    One value, of that index or drawn by lot, goes through the SDK, and so is offered as an
    exemplar with the context; the others are added to where it sums up. Values must be finite
    and not negative.
    """
    if not values:
        return
    chosen = randrange(len(values)) if example is None else example
    histogram.record(values[chosen], attributes, context=context)
    others = [*values[:chosen], *values[chosen + 1 :]]
    if not others:
        return
    if sums := _sums(histogram, attributes):
        for each in sums:
            _add(each, others)
    else:
        for value in others:
            histogram.record(value, attributes, context=context)


def _add(sums: Any, values: Sequence[float]) -> None:
    """What the aggregation does with one value, for all of them."""
    with sums._lock:
        for value in values:
            sums._value[bisect_left(sums._boundaries, value)] += 1
        sums._sum += sum(values)
        sums._min = min(sums._min, *values)
        sums._max = max(sums._max, *values)


def _sums(histogram: Histogram, attributes: Mapping[str, str]) -> list[Any]:
    """Where the SDK sums up these attributes, for each reader; none where that is not so simple.

    It is simple with the SDK's defaults: fixed buckets, cumulative, no view that drops attributes.
    """
    if _hash_attributes is None or not isinstance(histogram, SdkHistogram):
        return []
    key = _hash_attributes(attributes)
    found = []
    try:
        storages = histogram._measurement_consumer._reader_storages  # type: ignore[attr-defined]
        for storage in storages.values():
            for match in storage._instrument_view_instrument_matches[histogram]:
                sums = match._attributes_aggregation[key]
                simple = isinstance(sums, _ExplicitBucketHistogramAggregation)
                if match._reset_on_collect or not simple:
                    return []
                found.append(sums)
    except (AttributeError, KeyError):
        return []
    return found
