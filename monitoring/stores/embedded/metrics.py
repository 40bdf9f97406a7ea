"""Metrics out of SQLite: increases, merged histograms and gauges, whole or step by step."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.stores.contract import LIVE_S, Across, Labels, Measured, Series, T, Window
from monitoring.stores.embedded.otlp_metrics import Kind
from monitoring.stores.embedded.resolutions import level_for, whole_steps
from monitoring.stores.embedded.schema import Readers
from monitoring.stores.histogram import Histogram
from telemetry.definitions import Metric

_IN = "level = ? AND series IN (SELECT value FROM json_each(?)) AND time_s >= ? AND time_s < ?"
#: Columns of one series' points put together over one step.
_COLUMNS: dict[Kind, str] = {
    "counter": "sum(value)",
    "gauge": "sum(total) / sum(readings), max(highest)",
}
_PUT_TOGETHER: dict[Across, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "avg": lambda values: math.fsum(values) / len(values),
    "max": max,
}

#: Series of one metric by the labels asked for: ids, and bounds for histograms.
Groups = dict[Labels, list[tuple[int, tuple[float, ...]]]]
#: Bounds of histograms, their counts (steps x buckets), and their sums by step.
Buckets = tuple[tuple[float, ...], npt.NDArray[np.int64], npt.NDArray[np.float64]]


class EmbeddedMetrics:
    """MetricsStore over the SQLite file."""

    def __init__(self, readers: Readers, clock: Callable[[], float] = time.time) -> None:
        self._readers = readers
        self._clock = clock

    def resolution_s(self, window: Window) -> int:
        return level_for(window.start_s, self._clock())

    def window(self, seconds: float, now_s: float, step_s: float = 1.0) -> Window:
        return Window.last(seconds, now_s, step_s)

    def increase(
        self,
        metric: Metric,
        window: Window,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, float]:
        whole = self.increase_series(metric, window, window.seconds, by=by, where=where)
        return {labels: math.fsum(series.values) for labels, series in whole.items()}

    def increase_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[float]]:
        grid = _Grid(window, step_s, self._clock())
        answer: dict[Labels, Series[float]] = {}
        with self._readers.connection() as connection:
            for labels, series in _groups(connection, metric, "counter", by, where).items():
                values: list[list[float]] = [[] for _ in range(grid.steps)]
                for _, step, value in grid.rows(connection, "counter", [id for id, _ in series]):
                    values[step].append(value)
                if any(values):
                    answer[labels] = grid.series([math.fsum(step) for step in values])
        return answer

    def histogram(
        self,
        metric: Metric,
        window: Window,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Histogram]:
        whole = self.histogram_series(metric, window, window.seconds, by=by, where=where)
        return {
            labels: reduce(Histogram.merge, series.values)
            for labels, series in whole.items()
            if series.values
        }

    def histogram_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[Histogram]]:
        grid = _Grid(window, step_s, self._clock())
        answer: dict[Labels, Series[Histogram]] = {}
        with self._readers.connection() as connection:
            for labels, series in _groups(connection, metric, "histogram", by, where).items():
                found = [
                    [
                        Histogram(bounds, tuple(step), total)
                        for step, total in zip(counts.tolist(), sums.tolist(), strict=True)
                    ]
                    for bounds, counts, sums in grid.buckets(connection, series)
                ]
                if found:
                    answer[labels] = grid.series(
                        [reduce(Histogram.merge, step) for step in zip(*found, strict=True)]
                    )
        return answer

    def measured_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[Measured]]:
        grid = _Grid(window, step_s, self._clock())
        answer: dict[Labels, Series[Measured]] = {}
        with self._readers.connection() as connection:
            for labels, series in _groups(connection, metric, "histogram", by, where).items():
                found = grid.buckets(connection, series)
                if found:
                    counts = sum(counts.sum(axis=1) for _, counts, _ in found)
                    sums = sum(sums for _, _, sums in found)
                    steps = zip(np.asarray(counts).tolist(), np.asarray(sums).tolist(), strict=True)
                    answer[labels] = grid.series([Measured(*step) for step in steps])
        return answer

    def latest(
        self,
        metric: Metric,
        *,
        across: Across = "sum",
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, float]:
        # By the process's clock, and by ours: one whose clock is ahead dies as well.
        since_s = self._clock() - LIVE_S
        answer: dict[Labels, float] = {}
        with self._readers.connection() as connection:
            for labels, series in _groups(connection, metric, "gauge", by, where).items():
                rows = connection.execute(
                    "SELECT value FROM stream WHERE time_ns >= ? AND heard_s >= ?"
                    " AND series IN (SELECT value FROM json_each(?))",
                    (int(since_s * 1e9), since_s, json.dumps([id for id, _ in series])),
                ).fetchall()
                if rows:
                    answer[labels] = _PUT_TOGETHER[across]([value for (value,) in rows])
        return answer

    def gauge_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        across: Across = "sum",
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[float | None]]:
        grid = _Grid(window, step_s, self._clock())
        answer: dict[Labels, Series[float | None]] = {}
        with self._readers.connection() as connection:
            for labels, series in _groups(connection, metric, "gauge", by, where).items():
                values: list[list[float]] = [[] for _ in range(grid.steps)]
                ids = [id for id, _ in series]
                for _, step, mean, highest in grid.rows(connection, "gauge", ids):
                    values[step].append(highest if across == "max" else mean)
                if any(values):
                    put = _PUT_TOGETHER[across]
                    answer[labels] = grid.series([put(step) if step else None for step in values])
        return answer


class _Grid:
    """A window cut into steps, at the resolution that still has it."""

    def __init__(self, window: Window, step_s: float, now_s: float) -> None:
        if window.seconds <= 0 or step_s <= 0:
            raise ValueError("a window and its steps must be longer than nothing")
        self.start_s = window.start_s
        self.level = level_for(window.start_s, now_s)
        self.step_s = whole_steps(step_s, self.level)
        self.steps = math.ceil(window.seconds / self.step_s - 1e-9)
        # A bucket belongs to the step in which it starts; times are whole seconds.
        self._first, self._last = math.ceil(window.start_s), math.ceil(window.end_s)

    def rows(
        self, connection: sqlite3.Connection, kind: Kind, ids: Sequence[int]
    ) -> Iterator[tuple[Any, ...]]:
        """(series, step, columns...) of every step in which a series has points."""
        query = (
            f"SELECT series, (time_s - ?) / ? AS step, {_COLUMNS[kind]} FROM {kind}_point"
            f" WHERE {_IN} GROUP BY series, step"
        )
        yield from connection.execute(query, (self._first, self.step_s, *self._range(ids)))

    def buckets(
        self, connection: sqlite3.Connection, series: Iterable[tuple[int, tuple[float, ...]]]
    ) -> list[Buckets]:
        """Counts and sums of each step, for each bounds that series with values have."""
        found = [
            (bounds, *self._buckets(connection, bounds, [id for id, _ in same]))
            for bounds, same in groupby(
                sorted(series, key=lambda each: each[1]), key=lambda each: each[1]
            )
        ]
        return [each for each in found if each[1].any()]

    def _buckets(
        self, connection: sqlite3.Connection, bounds: tuple[float, ...], ids: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        query = f"SELECT (time_s - ?) / ?, sum, counts FROM histogram_point WHERE {_IN}"
        rows = connection.execute(query, (self._first, self.step_s, *self._range(ids))).fetchall()
        sums = np.zeros(self.steps)
        counts: npt.NDArray[np.int64] = np.zeros((self.steps, len(bounds) + 1), dtype=np.int64)
        if rows:
            steps = np.array([row[0] for row in rows])
            packed = np.frombuffer(b"".join(row[2] for row in rows), dtype="<i8")
            np.add.at(sums, steps, [row[1] for row in rows])
            np.add.at(counts, steps, packed.reshape(len(rows), -1))
        return counts, sums

    def series(self, values: Sequence[T]) -> Series[T]:
        """The steps' values with their times."""
        return Series(self.start_s, self.step_s, tuple(values))

    def _range(self, ids: Sequence[int]) -> tuple[int, str, int, int]:
        return self.level, json.dumps(ids), self._first, self._last


def _groups(
    connection: sqlite3.Connection,
    metric: Metric,
    kind: Kind,
    by: Sequence[str],
    where: Mapping[str, str] | None,
) -> Groups:
    groups: Groups = {}
    for id, text, bounds in connection.execute(
        "SELECT id, attributes, bounds FROM series WHERE metric = ? AND kind = ?",
        (metric.name, kind),
    ):
        attributes = json.loads(text)
        if all(attributes.get(name, "") == value for name, value in (where or {}).items()):
            labels = tuple(attributes.get(name, "") for name in by)
            groups.setdefault(labels, []).append((id, tuple(json.loads(bounds))))
    return groups
