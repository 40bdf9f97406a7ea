"""MetricsStore over Prometheus' HTTP API.

Written for metrics that come by way of the OpenTelemetry Collector's `prometheus`
exporter, scraped with `honor_labels`: `job` is the service's name and `instance` its
process, which is new with every start. So a series never falls back to zero, and the
difference of two of its samples is exact, where PromQL's own `increase` extrapolates.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from monitoring.stores import promql
from monitoring.stores.contract import (
    HOST_ID,
    LIVE_S,
    SERVICE_INSTANCE,
    Across,
    Labels,
    Measured,
    Series,
    Window,
)
from monitoring.stores.histogram import Histogram, merged
from monitoring.stores.promql import duration, label
from monitoring.stores.records import (
    RECORDS,
    STEP_MAX_S,
    Records,
    Steps,
)
from pipeline.errors import Unavailable
from telemetry.definitions import Level, Metric

TIMEOUT_S = 10.0
#: Finest step that is asked for: how often the collector is scraped.
RESOLUTION_S = 5
#: A record at the very start of a step belongs to the step before; PromQL would take both ends.
EDGE_S = 0.001

#: Labels and steps: the values that a query returned.
Found = dict[Labels, dict[int, float]]


class PrometheusMetrics:
    """Reads from the Prometheus at `url`; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] = time.time,
        records: Sequence[Records] = RECORDS,
    ) -> None:
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S)
        self._clock = clock
        self._records = records
        #: When the rules were evaluated, in the windows that were asked for last.
        self._evaluated: dict[tuple[Window, Records, int], list[float]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def resolution_s(self, window: Window) -> int:
        records = self._records_of(window)
        return records.seconds if records else RESOLUTION_S

    def window(self, seconds: float, now_s: float, step_s: float = 1.0) -> Window:
        aligned = Window.last(seconds, now_s, step_s)
        records = self._records_of(aligned)
        ends = self._evaluations(aligned, records) if records else []
        if not records or not ends:
            return aligned
        # Where records end, so that each lies in one step as a whole; what was not recorded
        # yet is in the last step.
        end_s = ends[-1] + math.ceil((now_s - ends[-1]) / records.seconds) * records.seconds
        return Window(end_s - seconds, end_s)

    def increase(
        self,
        metric: Metric,
        window: Window,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, float]:
        step_s = self._whole_step(window, by, where)
        whole = self.increase_series(metric, window, step_s, by=by, where=where)
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
        steps = self._steps(window, step_s, by, where)
        found = self._growth(metric, "", where, steps, by)
        return {
            labels: steps.series([max(0.0, values.get(i, 0.0)) for i in range(steps.count)])
            for labels, values in found.items()
            if any(values.values())
        }

    def histogram(
        self,
        metric: Metric,
        window: Window,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Histogram]:
        step_s = self._whole_step(window, by, where)
        whole = self.histogram_series(metric, window, step_s, by=by, where=where)
        totals = {labels: merged(series.values) for labels, series in whole.items()}
        return {labels: total for labels, total in totals.items() if total is not None}

    def histogram_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[Histogram]]:
        steps = self._steps(window, step_s, by, where)
        buckets = self._growth(metric, "_bucket", where, steps, [*by, "le"])
        sums = self._growth(metric, "_sum", where, steps, by)
        cumulative: dict[Labels, dict[float, dict[int, float]]] = {}
        for (*labels, bound), values in buckets.items():
            cumulative.setdefault(tuple(labels), {})[float(bound)] = values
        return {
            labels: steps.series(
                [_histogram(below, i, sums.get(labels, {}).get(i, 0.0)) for i in range(steps.count)]
            )
            for labels, below in cumulative.items()
            if any(value for values in below.values() for value in values.values())
        }

    def measured_series(
        self,
        metric: Metric,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[Measured]]:
        steps = self._steps(window, step_s, by, where)
        counts = self._growth(metric, "_count", where, steps, by)
        sums = self._growth(metric, "_sum", where, steps, by)
        return {
            labels: steps.series(
                [
                    Measured(round(values.get(i, 0.0)), sums.get(labels, {}).get(i, 0.0))
                    for i in range(steps.count)
                ]
            )
            for labels, values in counts.items()
            if any(values.values())
        }

    def latest(
        self,
        metric: Metric,
        *,
        across: Across = "sum",
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, float]:
        readings = promql.latest(promql.selector(metric, where))
        return self._instant(
            _aggregate(across, by, _with_host(readings, by, LIVE_S)), self._clock(), by
        )

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
        steps = self._steps(window, step_s, by, where)
        over_time = "max_over_time" if across == "max" else "avg_over_time"
        every = steps.records.every if steps.records else ""

        def raw(seconds: float) -> str:
            level = f"{over_time}({promql.selector(metric, where)}[{duration(seconds)}])"
            return _aggregate(across, by, _with_host(level, by, seconds))

        def recorded(seconds: float) -> str:
            levels = promql.selector(metric, where, record=f"{across}{every}")
            return _aggregate(across, by, f"{over_time}({levels}[{duration(seconds - EDGE_S)}])")

        found: Found = {}
        runs = [(False, 0, steps.count)]
        if steps.records and isinstance(metric, Level) and across in metric.across:
            runs = steps.runs(self._evaluations(window, steps.records))
        for is_recorded, first, last in runs:
            part = steps.part(first, last)
            for labels, values in self._stepwise(
                recorded if is_recorded else raw, part, by
            ).items():
                known = found.setdefault(labels, {})
                known.update({first + step: value for step, value in values.items()})
        return {
            labels: steps.series([values.get(i) for i in range(steps.count)])
            for labels, values in found.items()
        }

    def _steps(
        self, window: Window, step_s: float, by: Sequence[str], where: Mapping[str, str] | None
    ) -> Steps:
        merged_away = SERVICE_INSTANCE not in by and SERVICE_INSTANCE not in (where or {})
        records = self._records_of(window) if merged_away else None
        return Steps(window, step_s, self.resolution_s(window), records)

    def _records_of(self, window: Window) -> Records | None:
        return next((each for each in self._records if window.seconds >= each.from_s), None)

    def _whole_step(
        self, window: Window, by: Sequence[str], where: Mapping[str, str] | None
    ) -> float:
        """A long window out of raw samples is added up from steps that each load few of them."""
        records = self._steps(window, window.seconds, by, where).records
        return window.seconds if records else min(window.seconds, STEP_MAX_S)

    def _growth(
        self,
        metric: Metric,
        part: str,
        where: Mapping[str, str] | None,
        steps: Steps,
        by: Sequence[str],
    ) -> Found:
        """What was added, step by step: recorded where it was, else the raw samples'."""
        selector = promql.selector(metric, where, part)
        every = steps.records.every if steps.records else ""

        def raw(seconds: float) -> str:
            return _aggregate("sum", by, promql.growth(selector, seconds))

        def recorded(seconds: float) -> str:
            growth = promql.selector(metric, where, part, record=f"increase{every}")
            return _aggregate("sum", by, f"sum_over_time({growth}[{duration(seconds - EDGE_S)}])")

        if not steps.records:
            return self._stepwise(raw, steps, by)
        ends = self._evaluations(steps.window, steps.records)
        found = self._stepwise(recorded, steps, by) if ends else {}
        for first, piece in steps.pieces(ends):
            in_steps = piece.step_s == steps.step_s
            _add(found, self._stepwise(raw, piece, by), first, in_steps=in_steps)
        if before := steps.before(ends):
            _add(found, self._stepwise(raw, before, by), 0, -1.0)
        return found

    def _evaluations(self, window: Window, records: Records) -> list[float]:
        """When the rules were evaluated in the window."""
        # A view asks many questions of the same windows; their end may still be going on.
        key = window, records, int(self._clock() // RESOLUTION_S)
        known = self._evaluated.get(key)
        if known is None:
            query = {
                "query": f"{records.evaluated}[{duration(window.seconds)}]",
                "time": window.end_s,
            }
            times = [time_s for _, found in self._ask("query", query, ()) for time_s, _ in found]
            known = sorted(time_s for time_s in times if time_s > window.start_s)
            self._evaluated = {key: known, **dict(list(self._evaluated.items())[:7])}
        return known

    def _stepwise(
        self, expression: Callable[[float], str], steps: Steps, by: Sequence[str]
    ) -> Found:
        """The expression, made for a length in seconds, at the end of every step."""
        found: Found = {}
        if steps.whole:
            parameters = {
                "query": expression(steps.step_s),
                "start": steps.window.start_s + steps.step_s,
                "end": steps.window.start_s + steps.whole * steps.step_s,
                "step": steps.step_s,
            }
            for labels, samples in self._ask("query_range", parameters, by):
                for time_s, value in samples:
                    step = round((time_s - steps.window.start_s) / steps.step_s) - 1
                    found.setdefault(labels, {})[step] = value
        if steps.rest_s:
            rest = self._instant(expression(steps.rest_s), steps.window.end_s, by)
            for labels, value in rest.items():
                found.setdefault(labels, {})[steps.whole] = value
        return found

    def _instant(self, query: str, time_s: float, by: Sequence[str]) -> dict[Labels, float]:
        answer = self._ask("query", {"query": query, "time": time_s}, by)
        return {labels: samples[0][1] for labels, samples in answer if samples}

    def _ask(
        self, path: str, parameters: Mapping[str, Any], by: Sequence[str]
    ) -> Iterator[tuple[Labels, list[tuple[float, float]]]]:
        try:
            response = self._client.post(f"/api/v1/{path}", data=dict(parameters))
            answer = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            # Not the whole address: it may hold a password.
            host = self._client.base_url.host
            raise Unavailable(f"Prometheus on {host} cannot be read: {error}") from error
        if answer.get("status") != "success":
            raise Unavailable(f"Prometheus refused a query: {answer.get('error')}")
        for item in answer["data"]["result"]:
            labels = tuple(item["metric"].get(label(name), "") for name in by)
            samples = item["values"] if "values" in item else [item["value"]]
            numbers = [(float(time_s), float(value)) for time_s, value in samples]
            yield labels, [(time_s, value) for time_s, value in numbers if math.isfinite(value)]


def _add(
    found: Found, more: Found, first: int, sign: float = 1.0, *, in_steps: bool = False
) -> None:
    """Add values to the step `first`, or to those from it on."""
    for labels, values in more.items():
        known = found.setdefault(labels, {})
        for index, value in values.items():
            step = first + index if in_steps else first
            known[step] = known.get(step, 0.0) + sign * value


def _histogram(below: Mapping[float, Mapping[int, float]], step: int, total: float) -> Histogram:
    """From what was added to each cumulative bucket in one step."""
    bounds = sorted(below)
    counts: list[int] = []
    reached = 0
    for bound in bounds:
        upto = max(reached, round(below[bound].get(step, 0.0)))
        counts.append(upto - reached)
        reached = upto
    finite = tuple(bound for bound in bounds if math.isfinite(bound))
    return Histogram(finite, (*counts[: len(finite)], sum(counts[len(finite) :])), total)


def _aggregate(across: Across, by: Sequence[str], expression: str) -> str:
    return f"{across} by ({', '.join(map(label, by))}) ({expression})"


def _with_host(levels: str, by: Sequence[str], seconds: float) -> str:
    return f"({promql.with_host(levels, seconds)})" if HOST_ID in by else levels
