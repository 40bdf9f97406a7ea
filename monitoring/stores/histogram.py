"""Histograms with explicit bounds: what every percentile is taken from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of measurements per bucket; bucket i holds values in (bounds[i-1], bounds[i]].

    `counts` has one more entry than `bounds`: the last bucket has no upper bound.
    `sum` is the total of the values measured, in the metric's unit.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float = 0.0

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError(f"{len(self.bounds)} bounds need {len(self.bounds) + 1} counts")
        if any(low >= high for low, high in pairwise(self.bounds)):
            raise ValueError("bounds must rise")

    @property
    def count(self) -> int:
        """How many values were measured."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Mean of the values; None when there are none."""
        return self.sum / self.count if self.count else None

    def percentile(self, q: float) -> float | None:
        """Value below which the share `q` (0..1) of the values lies; None when there are none.

        The rule is that of Prometheus' histogram_quantile, so that both stores give
        the same answer: linear within a bucket, the lowest bucket starts at 0 unless
        its bound is negative, the unbounded one answers with the highest bound.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be within 0..1, not {q}")
        if not self.count or not self.bounds:
            return None
        rank = q * self.count
        below = list(accumulate(self.counts))
        bucket = next(i for i, total in enumerate(below) if total >= rank)
        if bucket == len(self.bounds):
            return self.bounds[-1]
        high = self.bounds[bucket]
        if bucket == 0 and high <= 0:
            return high
        low = self.bounds[bucket - 1] if bucket else 0.0
        inside = self.counts[bucket]
        if not inside:  # q = 0 before the first value
            return low
        return low + (high - low) * (rank - (below[bucket] - inside)) / inside

    def merge(self, other: Histogram) -> Histogram:
        """Both together, on the bounds that both have: there the counts are exact."""
        bounds = tuple(bound for bound in self.bounds if bound in set(other.bounds))
        mine, theirs = self._coarsened(bounds), other._coarsened(bounds)
        counts = tuple(a + b for a, b in zip(mine, theirs, strict=True))
        return Histogram(bounds, counts, self.sum + other.sum)

    def subtract(self, earlier: Histogram) -> Histogram:
        """What was measured since `earlier`, a cumulative reading of the same histogram.

        ValueError when the bounds differ or `earlier` holds values that this does not.
        """
        if self.bounds != earlier.bounds:
            raise ValueError("only histograms with the same bounds can be subtracted")
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        if min(counts) < 0:
            raise ValueError("the earlier histogram holds more than the later one")
        return Histogram(self.bounds, counts, self.sum - earlier.sum)

    def _coarsened(self, bounds: tuple[float, ...]) -> tuple[int, ...]:
        """Counts on `bounds`, which must be some of this histogram's own."""
        if bounds == self.bounds:
            return self.counts
        keep, counts, inside = set(bounds), [], 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            inside += count
            if bound in keep:
                counts.append(inside)
                inside = 0
        return (*counts, inside + self.counts[-1])


def merged(histograms: Iterable[Histogram]) -> Histogram | None:
    """All of them together; None when there are none."""
    total: Histogram | None = None
    for histogram in histograms:
        total = histogram if total is None else total.merge(histogram)
    return total
