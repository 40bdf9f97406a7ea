"""How long the service was seen in a window, and what that makes of a mean and a peak.

A mean is over the time in which a frontend was heard of: one over a window in which there was no
service says less than happened. A peak is over a stretch of that same time, never shorter than
a whole step, and those stretches hold every request once: so no mean is above its peak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from monitoring.stores.contract import LIVE_S, MetricsStore, Series, Window
from telemetry import catalogue
from telemetry.definitions import Level, Metric

#: What every frontend reports with each export; the second knows nothing while Redis is away.
HEARD: Final[tuple[Level, ...]] = (catalogue.REQUESTS_ACTIVE, catalogue.WORKERS)
_HOUR_S, _ALIGN_S = 3600.0, 600.0
#: Stores have what is younger than this by 5 s, and by the minute: Prometheus is read by its
#: records in a window of six hours.
_FINE_S, _MINUTES_S = 6 * _HOUR_S - _ALIGN_S, 72 * _HOUR_S
#: Prometheus' records of 5 minutes are read for windows of less than 5 days.
STRETCH_S: Final = 96 * _HOUR_S
#: Exports come every 5 s and are scraped every 5 s: what is younger may not all be here.
SETTLE_S: Final = 10.0
#: What "now" is for a rate, and the finest steps of both stores.
NOW_S: Final = 60.0
RESOLUTION_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Observed:
    """The stretches of a window in which a frontend was heard of, by time."""

    stretches: tuple[Window, ...] = ()

    @property
    def seconds(self) -> float:
        """All of them together."""
        return math.fsum(each.seconds for each in self.stretches)

    def of(self, window: Window) -> Observed:
        """Those of a part of the window."""
        parts = (
            Window(max(each.start_s, window.start_s), min(each.end_s, window.end_s))
            for each in self.stretches
        )
        return Observed(tuple(part for part in parts if part.seconds > 0))

    def within(self, start_s: float, end_s: float) -> float:
        """Seconds of them between two moments."""
        return math.fsum(
            max(0.0, min(each.end_s, end_s) - max(each.start_s, start_s)) for each in self.stretches
        )


def observed(metrics: MetricsStore, window: Window, now_s: float) -> Observed:
    """When a frontend was heard of, to 5 s in the last six hours, and to the store's step before.

    A silence of up to LIVE_S is none, also that since the last export. Raises Unavailable when
    the store cannot be read.
    """
    end_s = min(window.end_s, now_s)
    found: list[tuple[float, float]] = []
    for part in _parts(window, now_s):
        step_s = metrics.resolution_s(part)
        # Steps that begin where the store's own do, so that none begins before it was heard of.
        asked = Window(part.start_s // step_s * step_s, part.end_s)
        for level in HEARD:
            heard = metrics.gauge_series(level, asked, step_s, across=level.across[0])
            found += [
                (max(at, window.start_s), min(at + series.step_s, end_s))
                for series in heard.values()
                for at, value in zip(series.times_s, series.values, strict=True)
                if value is not None and at < end_s
            ]
    if found and end_s - max(last for _, last in found) <= LIVE_S:
        found.append((end_s, end_s))
    return Observed(tuple(_joined(sorted(found))))


def _parts(window: Window, now_s: float) -> Iterator[Window]:
    """The window, cut where stores have it coarser."""
    at = window.start_s
    for ago_s in (_MINUTES_S, _FINE_S):
        cut_s = (now_s // _ALIGN_S + 1) * _ALIGN_S - ago_s
        stop_s = min(cut_s, window.end_s)
        if at < stop_s:
            yield Window(at, stop_s)
            at = stop_s
    if at < window.end_s:
        yield Window(at, window.end_s)


def stretches(window: Window) -> Iterator[Window]:
    """A window in parts that each store can be asked for in steps of ten minutes or less."""
    at = window.start_s
    while at < window.end_s:
        end_s = min(at + STRETCH_S, window.end_s)
        yield Window(at, end_s)
        at = end_s


def _joined(found: Iterable[tuple[float, float]]) -> Iterator[Window]:
    """Stretches that overlap, or lie no further apart than LIVE_S, as one."""
    start_s = end_s = -math.inf
    for first, last in found:
        if first > end_s + LIVE_S:
            if end_s > start_s:
                yield Window(start_s, end_s)
            start_s, end_s = first, last
        end_s = max(end_s, last)
    if end_s > start_s:
        yield Window(start_s, end_s)


def rate_now(metrics: MetricsStore, metric: Metric, now_s: float) -> float | None:
    """How much a counter grows a second, over the last minute of which all is here.

    Over less where a frontend was first heard of within it; None where none was heard of.
    """
    end_s = (now_s - SETTLE_S) // RESOLUTION_S * RESOLUTION_S
    window = Window(end_s - NOW_S, end_s)
    count = math.fsum(metrics.increase(metric, window).values())
    seen = observed(metrics, window, end_s)
    if not seen.stretches:
        return count / NOW_S if count else None
    return count / (end_s - seen.stretches[0].start_s)


# -- means and peaks ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of time, how much of it was observed, and what was counted in it."""

    start_s: float
    observed_s: float
    count: float


@dataclass(frozen=True, slots=True)
class Rate:
    """What was counted, over the time that was observed."""

    mean_per_s: float
    #: The busiest stretch of observed time: its rate, where it begins, and how long it is.
    #: At least one whole step, unless less was observed in all.
    peak_per_s: float
    peak_at_s: float
    peak_s: float


def steps(
    counted: Iterable[Series[float]], seen: Observed, now_s: float, end_s: float | None = None
) -> list[Step]:
    """Steps of one series after another. One in which something was counted was observed."""
    found = []
    for series in counted:
        for at, count in zip(series.times_s, series.values, strict=True):
            stop_s = min(at + series.step_s, now_s, math.inf if end_s is None else end_s)
            observed_s = seen.within(at, stop_s)
            if count and not observed_s:
                observed_s = max(stop_s - at, 1.0)
            found.append(Step(at, observed_s, count))
    return found


def rate(found: Sequence[Step], least_s: float) -> Rate | None:
    """Mean and peak; None where nothing was observed."""
    parts = [found[part.start : part.stop] for part in cut([s.observed_s for s in found], least_s)]
    if not parts:
        return None
    peak_per_s, _, busiest = max((_per_s(part), -number, part) for number, part in enumerate(parts))
    first = next(step for step in busiest if step.observed_s)
    # Floats: equal rates of all stretches may add up to a little more than each of them.
    mean_per_s = min(_per_s(found), peak_per_s)
    return Rate(mean_per_s, peak_per_s, first.start_s, _seconds(busiest))


def cut(lengths: Sequence[float], least: float) -> list[range]:
    """Steps of these lengths in ranges of at least `least` each; all of them are in one range.

    One range where all together are shorter, and none where they have no length.
    """
    ends, length = [], 0.0
    for index, each in enumerate(lengths):
        length += each
        if length >= least - 1e-6:
            ends.append(index + 1)
            length = 0.0
    if not ends:
        return [range(len(lengths))] if length else []
    ends[-1] = len(lengths)  # what is left is too short to be a stretch of its own
    return [range(first, last) for first, last in zip([0, *ends[:-1]], ends, strict=True)]


def _seconds(found: Iterable[Step]) -> float:
    return math.fsum(step.observed_s for step in found)


def _per_s(found: Sequence[Step]) -> float:
    return math.fsum(step.count for step in found) / _seconds(found)
