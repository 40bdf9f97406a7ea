"""monitoring.stores.histogram: percentiles, merging, subtracting."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.stores.histogram import Histogram, merged

BOUNDS = (0.001, 0.01, 0.1, 1.0, 10.0)
values = st.lists(st.floats(0, 20), max_size=50)


def of(measured: list[float], bounds: tuple[float, ...] = BOUNDS) -> Histogram:
    """The histogram that a process would report for these measurements."""
    counts = [0] * (len(bounds) + 1)
    for value in measured:
        counts[bisect_left(bounds, value)] += 1
    return Histogram(bounds, tuple(counts), sum(measured))


def histogram_quantile(q: float, histogram: Histogram) -> float:
    """Prometheus' bucketQuantile (promql/quantile.go), line by line, for counts above none."""
    uppers = [*histogram.bounds, float("inf")]
    cumulative = []
    for count in histogram.counts:
        cumulative.append(count + (cumulative[-1] if cumulative else 0))
    rank = q * cumulative[-1]
    b = next((i for i in range(len(uppers) - 1) if cumulative[i] >= rank), len(uppers) - 1)
    if b == len(uppers) - 1:
        return uppers[-2]
    if b == 0 and uppers[0] <= 0:
        return uppers[0]
    start, count = 0.0, cumulative[b]
    if b > 0:
        start = uppers[b - 1]
        count -= cumulative[b - 1]
        rank -= cumulative[b - 1]
    return start + (uppers[b] - start) * (rank / count)


@given(values.filter(bool), st.floats(0.001, 1))
def test_percentile_follows_prometheus(measured: list[float], q: float) -> None:
    """Any percentile is what Prometheus' histogram_quantile says."""
    histogram = of(measured)
    assert histogram.percentile(q) == pytest.approx(histogram_quantile(q, histogram))


@given(values.filter(bool), st.floats(0, 1), st.floats(0, 1))
def test_percentile_rises(measured: list[float], one: float, other: float) -> None:
    """A higher percentile is never a lower value."""
    histogram = of(measured)
    low, high = histogram.percentile(min(one, other)), histogram.percentile(max(one, other))
    assert low is not None
    assert high is not None
    assert low <= high + 1e-9


@given(values, values)
def test_merge_is_measuring_both(one: list[float], other: list[float]) -> None:
    """Merging two histograms gives the histogram of all their measurements."""
    both = of(one).merge(of(other))
    assert both.counts == of(one + other).counts
    assert both.sum == pytest.approx(sum(one) + sum(other))


@given(values, values)
def test_subtract_undoes_merge(earlier: list[float], later: list[float]) -> None:
    """What came after a reading is the later reading less the earlier one."""
    rest = of(earlier).merge(of(later)).subtract(of(earlier))
    assert rest.counts == of(later).counts


@given(values, values)
def test_merge_over_different_bounds_is_exact_at_the_common_ones(
    one: list[float], other: list[float]
) -> None:
    """Histograms of two versions of the buckets merge without miscounting."""
    bounds = (0.01, 0.5, 1.0)
    both = of(one).merge(of(other, bounds))
    assert both == of(one, (0.01, 1.0)).merge(of(other, (0.01, 1.0)))


def test_nothing_measured() -> None:
    """An empty histogram has no percentile and no mean."""
    assert of([]).percentile(0.5) is None
    assert of([]).mean is None
    assert merged([]) is None


def test_beyond_the_last_bound() -> None:
    """Values past the last bound answer with it: more is not known."""
    assert of([50.0, 60.0]).percentile(0.99) == 10.0


def test_mean() -> None:
    """The mean is exact: it does not come from the buckets."""
    assert of([0.2, 0.4]).mean == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Histogram((1.0,), (1,)), "need 2 counts"),
        (lambda: Histogram((2.0, 1.0), (0, 0, 0)), "must rise"),
        (lambda: of([]).percentile(95), r"within 0\.\.1"),
        (lambda: of([]).subtract(of([1.0])), "holds more"),
        (lambda: of([]).subtract(of([], (1.0,))), "same bounds"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], object], why: str) -> None:
    """Counts that do not fit, percentiles beyond 1, and negative counts are errors."""
    with pytest.raises(ValueError, match=why):
        make()
