"""How figures are taken, each from a MetricsStore and, the same, in PromQL side by side.

A figure that was not measured (nobody reported it, or no image came that it could be taken
from) is None here and an empty result, or NaN, there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from monitoring.figures.utilisation import seconds_there, utilisation, workers_there
from monitoring.stores import promql
from monitoring.stores.contract import SERVICE_INSTANCE, SERVICE_NAME, MetricsStore, Window
from telemetry import catalogue
from telemetry.definitions import Metric
from telemetry.outcomes import COUNTED
from telemetry.outcomes import share as share_of

#: What `traffic_share` compares with: so long before its window, and at this distance.
BEFORE_S, DAY_S = 3600.0, 86400.0
_USED = {"state": "used"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule wants of its figure: over how long, of which series, from how many images on."""

    window_s: float
    where: Mapping[str, str] = field(default_factory=dict)
    at_least: int = 1
    #: Where this asks only for the last part of a rule's window: how long that whole window is.
    of_s: float | None = None

    def window(self, now_s: float) -> Window:
        """The window that ends now."""
        return Window.last(self.window_s, now_s)


Measure = Callable[[MetricsStore, Asked, float], float | None]
Promql = Callable[[Asked], str]
#: A figure from a MetricsStore at a time in seconds since the epoch, and its PromQL.
Taken = tuple[Measure, Promql]


# -- requests -----------------------------------------------------------------------------


def _requests(metrics: MetricsStore, window: Window, where: Mapping[str, str]) -> float:
    return metrics.increase(catalogue.REQUESTS, window, where=where).get((), 0.0)


def _requests_promql(asked: Asked, window_s: float, ago_s: float = 0.0) -> str:
    series = promql.selector(catalogue.REQUESTS, asked.where)
    return f"sum({promql.growth(series, window_s, ago_s)})"


def _qps(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
    return _requests(metrics, asked.window(now_s), asked.where) / asked.window_s


def _qps_promql(asked: Asked) -> str:
    return f"({_requests_promql(asked, asked.window_s)} or vector(0)) / {asked.window_s:g}"


def _outcome(*outcomes: str) -> str:
    """PromQL's matcher of requests that ended in one of these ways."""
    return f'outcome=~"{"|".join(outcomes)}"'


def share(*outcomes: str) -> Taken:
    """Share of the requests of telemetry.outcomes.COUNTED that ended in one of these ways.

    `at_least` counts those requests, too.
    """

    def measure(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
        found = metrics.increase(
            catalogue.REQUESTS, asked.window(now_s), by=("outcome",), where=asked.where
        )
        counts = {outcome: count for (outcome,), count in found.items()}
        if sum(counts.get(outcome, 0.0) for outcome in COUNTED) < asked.at_least:
            return None
        return share_of(counts, outcomes)

    def text(asked: Asked) -> str:
        part, whole = (
            promql.selector(catalogue.REQUESTS, asked.where, extra=_outcome(*those))
            for those in (outcomes, COUNTED)
        )
        return (
            f"(sum({promql.growth(part, asked.window_s)}) or vector(0))"
            f" / (sum({promql.growth(whole, asked.window_s)}) >= {asked.at_least})"
        )

    return measure, text


def _traffic_share(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
    recent, before = _with_hour_before(metrics, asked, asked.window(now_s))
    if before < asked.at_least:
        return None
    if not recent:
        # The same at the same time yesterday: that is when the day ends here.
        recent_then, before_then = _with_hour_before(metrics, asked, asked.window(now_s - DAY_S))
        if not recent_then and before_then >= asked.at_least:
            return None
    return recent / asked.window_s / (before / BEFORE_S)


def _with_hour_before(metrics: MetricsStore, asked: Asked, window: Window) -> tuple[float, float]:
    hour = Window(window.start_s - BEFORE_S, window.start_s)
    return _requests(metrics, window, asked.where), _requests(metrics, hour, asked.where)


def _traffic_share_promql(asked: Asked) -> str:
    window_s = asked.window_s
    recent, recent_then = (
        f"({_requests_promql(asked, window_s, ago_s)} or vector(0))" for ago_s in (0, DAY_S)
    )
    before, before_then = (
        f"({_requests_promql(asked, BEFORE_S, window_s + ago_s)} >= {asked.at_least})"
        for ago_s in (0, DAY_S)
    )
    share = f"(({recent} / {window_s:g}) / ({before} / {BEFORE_S:g}))"
    return f"{share} unless (({recent} == 0) and ({recent_then} == 0) and {before_then})"


# -- workers ------------------------------------------------------------------------------


def _utilisation(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
    window = asked.window(now_s)
    busy_s = metrics.increase(catalogue.WORKER_BUSY, window).get((), 0.0)
    workers = workers_there(
        metrics.gauge_series(catalogue.WORKERS, window, window.seconds, across="avg", by=("state",))
    )
    return utilisation(busy_s, seconds_there(workers, [window.seconds] * len(workers)))


def _utilisation_promql(asked: Asked) -> str:
    busy = f"sum({promql.growth(promql.selector(catalogue.WORKER_BUSY, {}), asked.window_s)})"
    workers = promql.mean(promql.selector(catalogue.WORKERS, {}), asked.window_s)
    there = f"(sum(avg by (state) ({workers})) > 0) * {asked.window_s:g}"
    return f"clamp_max(({busy} or vector(0)) / ({there}), 1)"


# -- durations ----------------------------------------------------------------------------


def _enough(metric: Metric, asked: Asked, fixed: Mapping[str, str]) -> str:
    count = promql.selector(metric, {**fixed, **asked.where}, "_count")
    return f"(sum({promql.growth(count, asked.window_s)}) >= {asked.at_least})"


def mean(metric: Metric, **fixed: str) -> Taken:
    """Mean of a histogram's values."""

    def measure(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
        found = metrics.histogram(
            metric, asked.window(now_s), where={**fixed, **asked.where}
        ).get(())  # fmt: skip
        return found.mean if found is not None and found.count >= asked.at_least else None

    def text(asked: Asked) -> str:
        total = promql.selector(metric, {**fixed, **asked.where}, "_sum")
        return f"sum({promql.growth(total, asked.window_s)}) / {_enough(metric, asked, fixed)}"

    return measure, text


def percentile(q: float, metric: Metric, **fixed: str) -> Taken:
    """Value below which the share `q` of a histogram's values lies, all processes merged."""

    def measure(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
        found = metrics.histogram(
            metric, asked.window(now_s), where={**fixed, **asked.where}
        ).get(())  # fmt: skip
        if found is None or found.count < asked.at_least:
            return None
        return found.percentile(q)

    def text(asked: Asked) -> str:
        buckets = promql.selector(metric, {**fixed, **asked.where}, "_bucket")
        merged = f"sum by (le) ({promql.growth(buckets, asked.window_s)})"
        return f"histogram_quantile({q:g}, {merged}) and {_enough(metric, asked, fixed)}"

    return measure, text


# -- this moment --------------------------------------------------------------------------


def latest_max(metric: Metric, by: str) -> Taken:
    """What every frontend reports alike: the largest of the same thing, then the sum."""
    return _of_largest(metric, by, "sum", sum)


def fewest(metric: Metric, by: str) -> Taken:
    """The same, and then the least."""
    return _of_largest(metric, by, "min", min)


def _of_largest(
    metric: Metric, by: str, operator: str, combined: Callable[[Iterable[float]], float]
) -> Taken:
    def measure(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
        found = metrics.latest(metric, across="max", by=(by,), where=asked.where)
        return combined(found.values()) if found else None

    def text(asked: Asked) -> str:
        series = promql.latest(promql.selector(metric, asked.where))
        return f"{operator}(max by ({promql.label(by)}) ({series}))"

    return measure, text


def highest(metric: Metric) -> Taken:
    """The highest reading."""

    def measure(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
        return metrics.latest(metric, across="max", where=asked.where).get(())

    def text(asked: Asked) -> str:
        return f"max({promql.latest(promql.selector(metric, asked.where))})"

    return measure, text


def _reporting(metrics: MetricsStore, service: str) -> int:
    where = {SERVICE_NAME: service, **_USED}
    return len(metrics.latest(catalogue.SYSTEM_MEMORY, by=(SERVICE_INSTANCE,), where=where))


def _reporting_promql(service: str) -> str:
    series = promql.selector(catalogue.SYSTEM_MEMORY, {SERVICE_NAME: service, **_USED})
    return f"(count({promql.latest(series)}) or vector(0))"


def _frontends(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
    return float(_reporting(metrics, catalogue.SERVICE_FRONTEND))


WORKERS_READY = latest_max(catalogue.WORKERS, "state")


def _silent_workers(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
    ready = WORKERS_READY[0](metrics, asked, now_s)
    if ready is None:
        return None
    return max(0.0, ready - _reporting(metrics, catalogue.SERVICE_WORKER))


def _silent_workers_promql(asked: Asked) -> str:
    reporting = _reporting_promql(catalogue.SERVICE_WORKER)
    return f"clamp_min({WORKERS_READY[1](asked)} - {reporting}, 0)"


# -- hosts and queues over time -----------------------------------------------------------


def _cpu(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
    window = asked.window(now_s)
    found = metrics.gauge_series(
        catalogue.SYSTEM_CPU, window, window.seconds, across="avg", by=(SERVICE_INSTANCE, "state")
    )
    busy: dict[str, float] = {}
    for (instance, state), series in found.items():
        # Not 1 - idle: a process's first reading is 0 of everything, idle too.
        if state != "idle" and series.values[0] is not None:
            busy[instance] = busy.get(instance, 0.0) + series.values[0]
    return max(busy.values(), default=None)


def _cpu_promql(asked: Asked) -> str:
    series = promql.selector(catalogue.SYSTEM_CPU, {}, extra='state!="idle"')
    by_state = f"avg by (job, instance, state) ({promql.mean(series, asked.window_s)})"
    return f"max(sum by (job, instance) ({by_state}))"


def _highest_mean(
    metrics: MetricsStore, metric: Metric, window: Window, by: Sequence[str],
    where: Mapping[str, str],
) -> float | None:  # fmt: skip
    found = metrics.gauge_series(metric, window, window.seconds, across="avg", by=by, where=where)
    values = [series.values[0] for series in found.values()]
    return max((value for value in values if value is not None), default=None)


def highest_mean(metric: Metric, **fixed: str) -> Taken:
    """The mean over the window, of the process that reports the highest."""

    def measure(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
        where, by = {**fixed, **asked.where}, (SERVICE_INSTANCE, "gpu")
        return _highest_mean(metrics, metric, asked.window(now_s), by, where)

    def text(asked: Asked) -> str:
        series = promql.selector(metric, {**fixed, **asked.where})
        return f"max({promql.mean(series, asked.window_s)})"

    return measure, text


def _age_parts(asked: Asked) -> tuple[float, float, float]:
    """How long the later part, each half of the whole window, and that window are.

    The last part of a window is compared with that window's first half, too: over less time the
    same growth would be a smaller number.
    """
    whole_s = asked.of_s or asked.window_s
    return whole_s / 2 if asked.of_s is None else asked.window_s, whole_s / 2, whole_s


def _age_growth(metrics: MetricsStore, asked: Asked, now_s: float) -> float | None:
    later_s, half_s, whole_s = _age_parts(asked)
    end_s = asked.window(now_s).end_s
    earlier, later = (
        _highest_mean(
            metrics, catalogue.QUEUE_OLDEST_AGE, window, (SERVICE_INSTANCE, "queue"), asked.where
        )
        for window in (Window(end_s - whole_s, end_s - half_s), Window(end_s - later_s, end_s))
    )
    return None if earlier is None or later is None else later - earlier


def _age_growth_promql(asked: Asked) -> str:
    series = promql.selector(catalogue.QUEUE_OLDEST_AGE, asked.where)
    later_s, half_s, _ = _age_parts(asked)
    return f"max({promql.mean(series, later_s)}) - max({promql.mean(series, half_s, half_s)})"


UTILISATION: Taken = _utilisation, _utilisation_promql
QPS: Taken = _qps, _qps_promql
TRAFFIC_SHARE: Taken = _traffic_share, _traffic_share_promql
WORKERS_SILENT: Taken = _silent_workers, _silent_workers_promql
FRONTENDS: Taken = _frontends, lambda _: _reporting_promql(catalogue.SERVICE_FRONTEND)
BUSIEST_CPU: Taken = _cpu, _cpu_promql
QUEUE_AGE_GROWTH: Taken = _age_growth, _age_growth_promql
FULLEST_MEMORY: Taken = highest_mean(catalogue.SYSTEM_MEMORY, state="used")
