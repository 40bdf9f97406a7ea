"""MetricsStore over Prometheus' HTTP API.

Written for metrics that come by way of the OpenTelemetry Collector's `prometheus`
exporter, scraped with `honor_labels`: `job` is the service's name and `instance` its
process, which is new with every start. So a series never falls back to zero, and the
difference of two of its samples is exact, where PromQL's own `increase` extrapolates.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from monitoring.histogram import Histogram, merged
from monitoring.model import (
    LIVE_S,
    SERVICE_INSTANCE,
    SERVICE_NAME,
    Across,
    Labels,
    Series,
    Window,
)
from pipeline.errors import Unavailable

TIMEOUT_S = 10.0
#: Finest step that is asked for: how often the collector is scraped.
RESOLUTION_S = 5
#: How far before a window a series' last sample is looked for. A series that was not
#: scraped for longer counts as new.
LOOKBACK_S = 3600
#: A long window is added up from steps of at most this: samples one step loads at once.
STEP_MAX_S = 3600.0

_LABELS = {SERVICE_NAME: "job", SERVICE_INSTANCE: "instance"}
#: What the exporter may append to a name for its unit, before the suffix of its kind.
_UNIT = "(_(seconds|milliseconds|bytes|ratio|percent|celsius|watts|joules|hertz))?"

#: Labels and steps: the values that a query returned.
Found = dict[Labels, dict[int, float]]


class PrometheusMetrics:
    """Reads from the Prometheus at `url`; `clock` gives seconds since the epoch."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S)
        self._clock = clock

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def increase(
        self,
        metric: str,
        window: Window,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, float]:
        whole = self.increase_series(metric, window, _whole_step(window), by=by, where=where)
        return {labels: math.fsum(series.values) for labels, series in whole.items()}

    def increase_series(
        self,
        metric: str,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[float]]:
        steps = _Steps(window, step_s)
        found = self._growth(_selector(metric, "_total", where), steps, by)
        return {
            labels: steps.series([max(0.0, values.get(i, 0.0)) for i in range(steps.count)])
            for labels, values in found.items()
            if any(values.values())
        }

    def histogram(
        self,
        metric: str,
        window: Window,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Histogram]:
        whole = self.histogram_series(metric, window, _whole_step(window), by=by, where=where)
        totals = {labels: merged(series.values) for labels, series in whole.items()}
        return {labels: total for labels, total in totals.items() if total is not None}

    def histogram_series(
        self,
        metric: str,
        window: Window,
        step_s: float,
        *,
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[Histogram]]:
        steps = _Steps(window, step_s)
        buckets = self._growth(_selector(metric, "_bucket", where), steps, [*by, "le"])
        sums = self._growth(_selector(metric, "_sum", where), steps, by)
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

    def latest(
        self,
        metric: str,
        *,
        across: Across = "sum",
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, float]:
        readings = f"last_over_time({_selector(metric, '', where)}[{_duration(LIVE_S)}])"
        return self._instant(_aggregate(across, by, readings), self._clock(), by)

    def gauge_series(
        self,
        metric: str,
        window: Window,
        step_s: float,
        *,
        across: Across = "sum",
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[Labels, Series[float | None]]:
        steps = _Steps(window, step_s)
        over_time = "max_over_time" if across == "max" else "avg_over_time"
        selector = _selector(metric, "", where)

        def expression(seconds: float) -> str:
            return _aggregate(across, by, f"{over_time}({selector}[{_duration(seconds)}])")

        return {
            labels: steps.series([values.get(i) for i in range(steps.count)])
            for labels, values in self._stepwise(expression, steps, by).items()
        }

    def _growth(self, selector: str, steps: _Steps, by: Sequence[str]) -> Found:
        def expression(seconds: float) -> str:
            step = _duration(seconds)
            now = f"last_over_time({selector}[{step}])"
            before = f"last_over_time({selector}[{_duration(LOOKBACK_S)}] offset {step})"
            return _aggregate("sum", by, f"({now} - ({before} or {now} * 0))")

        return self._stepwise(expression, steps, by)

    def _stepwise(
        self, expression: Callable[[float], str], steps: _Steps, by: Sequence[str]
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
            labels = tuple(item["metric"].get(_label(name), "") for name in by)
            samples = item["values"] if "values" in item else [item["value"]]
            numbers = [(float(time_s), float(value)) for time_s, value in samples]
            yield labels, [(time_s, value) for time_s, value in numbers if math.isfinite(value)]


class _Steps:
    """A window cut into steps; the last one may be shorter."""

    def __init__(self, window: Window, step_s: float) -> None:
        if window.seconds <= 0 or step_s <= 0:
            raise ValueError("a window and its steps must be longer than nothing")
        self.window = window
        self.step_s = max(1, math.ceil(step_s / RESOLUTION_S - 1e-9)) * RESOLUTION_S
        self.whole = int(window.seconds / self.step_s + 1e-9)
        rest_s = window.seconds - self.whole * self.step_s
        self.rest_s = rest_s if rest_s >= 0.001 else 0.0
        self.count = self.whole + (1 if self.rest_s else 0)

    def series(self, values: Sequence[Any]) -> Series[Any]:
        """The steps' values with their times."""
        return Series(self.window.start_s, self.step_s, tuple(values))


def _whole_step(window: Window) -> float:
    return min(window.seconds, STEP_MAX_S)


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
    return f"{across} by ({', '.join(map(_label, by))}) ({expression})"


def _selector(metric: str, suffix: str, where: Mapping[str, str] | None) -> str:
    """Selects by the name under which the exporter offers an OpenTelemetry metric."""
    matchers = [f'__name__=~"{_sanitized(metric)}{_UNIT}{suffix}"']
    for name, value in (where or {}).items():
        matchers.append(f"{_label(name)}={json.dumps(value, ensure_ascii=False)}")
    return "{" + ",".join(matchers) + "}"


def _label(name: str) -> str:
    return _LABELS.get(name) or _sanitized(name)


def _sanitized(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
