"""The plots of the Monitor page: what `GET /api/v1/stats/series` answers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from monitoring.figures import levels as figures
from monitoring.figures.levels import Steps, percentile_ms, rates
from monitoring.figures.utilisation import utilisation, workers_there
from monitoring.stores.contract import Across, Labels, Measured, MetricsStore, Series, Window
from monitoring.stores.histogram import Histogram
from pipeline.errors import InvalidParameter
from telemetry import catalogue
from telemetry.definitions import Metric

#: Less than any step: a window that is to end with a moment ends with the step before it.
BEFORE_S = 1e-3
#: Steps of a plot where none were asked for: about as many as there are points to see.
STEPS = 180
STEPS_MAX = 1500
#: Lengths of a step that people can read off an axis, in seconds.
STEPS_S = (
    5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 14400, 21600, 43200,
)  # fmt: skip


class Heatmap(BaseModel):
    """How many requests with outcome `ok` took how long."""

    #: Upper bounds of the buckets; there is one more, without a bound.
    bounds_ms: list[float]
    #: For each step the counts, one more than there are bounds.
    counts: list[list[int]]


class Plots(BaseModel):
    """Values in `count` steps of `step_s` seconds from `start_s` (Unix time) on.

    None is what was not measured, and the rate of a step that has hardly begun.
    """

    start_s: float
    step_s: float
    count: int
    #: By outcome.
    requests_per_s: dict[str, list[float | None]]
    #: p50, p95, p99 of the requests with outcome `ok`.
    latency_ms: dict[str, list[float | None]]
    #: Mean for each image, by stage.
    stages_ms: dict[str, list[float | None]]
    heatmap: Heatmap
    #: The most that waited in each queue.
    queue_depth: dict[str, list[float | None]]
    #: The longest that an image had waited, in any queue.
    queue_oldest_age_s: list[float | None]
    #: Mean number, by state: busy, idle.
    workers: dict[str, list[float | None]]
    #: Mean images of an inference.
    batch_size: list[float | None]
    #: Share of their time that the workers were busy, 0..1.
    utilisation: list[float | None]
    #: Images that came into the queue, per second.
    arriving_per_s: list[float | None]


def plots(
    metrics: MetricsStore,
    window_s: float,
    step_s: float | None = None,
    now_s: float | None = None,
    *,
    end_s: float | None = None,
) -> Plots:
    """Compute the steps of the last `window_s` seconds, the last of them the one that goes on; or
    of a time that is over by `end_s`.

    Raises InvalidParameter when there would be too many, Unavailable when the store
    cannot be read.
    """
    now_s = time.time() if now_s is None else now_s
    window, step = grid(metrics, window_s, step_s, now_s if end_s is None else end_s,
                        is_over=end_s is not None)  # fmt: skip
    count = round(window.seconds / step)
    nothing: Steps = [None] * count

    def levels(metric: Metric, across: Across, by: str) -> dict[Labels, Series[float | None]]:
        return metrics.gauge_series(metric, window, step, across=across, by=(by,))

    def by_name(found: Mapping[Labels, Series[float | None]]) -> dict[str, Steps]:
        return {labels[0]: _rounded(series.values) for labels, series in sorted(found.items())}

    def per_s(series: Series[float] | None) -> Steps:
        return rates(series, now_s, 4) if series else nothing

    ok = {"outcome": "ok"}
    requests = metrics.increase_series(catalogue.REQUESTS, window, step, by=("outcome",))
    done = metrics.histogram_series(catalogue.REQUEST_DURATION, window, step, where=ok).get(())
    stages = metrics.measured_series(catalogue.STAGE_DURATION, window, step, by=("stage",))
    batches = metrics.measured_series(catalogue.BATCH_SIZE, window, step).get(())
    busy = metrics.increase_series(catalogue.WORKER_BUSY, window, step).get(())
    workers = levels(catalogue.WORKERS, "avg", "state")
    durations = done.values if done else ()
    return Plots(
        start_s=window.start_s,
        step_s=step,
        count=count,
        requests_per_s={labels[0]: per_s(series) for labels, series in sorted(requests.items())},
        latency_ms={
            name: [percentile_ms(each, q) for each in durations] or nothing
            for name, q in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
        },
        stages_ms={
            stage: [_ms(each.mean) for each in stages[(stage,)].values]
            for stage in catalogue.STAGES
            if (stage,) in stages
        },
        heatmap=_heatmap(durations, count),
        queue_depth=by_name(levels(catalogue.QUEUE_DEPTH, "max", "queue")),
        queue_oldest_age_s=_rounded(figures.OLDEST_AGE.over(metrics, window, step).values)
        or nothing,
        workers=by_name(workers),
        batch_size=_rounded(each.mean for each in batches.values) if batches else nothing,
        utilisation=_utilisation(per_s(busy), workers_there(workers)) or nothing,
        arriving_per_s=per_s(_counts(stages.get(("upload",)))),
    )


def grid(
    metrics: MetricsStore,
    window_s: float,
    step_s: float | None,
    end_s: float,
    *,
    is_over: bool = False,
) -> tuple[Window, int]:
    """The window, at least as long as asked for, in whole steps; and the length of a step.

    The last step is the one that goes on, or, of a time that is over, the one in which it ends.
    """
    resolution_s = metrics.resolution_s(Window.last(window_s, end_s))
    wanted_s = step_s if step_s is not None else _readable(window_s / STEPS)
    step = max(1, math.ceil(wanted_s / resolution_s - 1e-9)) * resolution_s
    count = math.ceil(window_s / step - 1e-9)
    if count > STEPS_MAX:
        raise InvalidParameter(
            f"{count} steps of {step} s are too many: at most {STEPS_MAX} can be asked for"
        )
    if is_over:  # it begins anywhere within a step, too
        return metrics.window((count + 1) * step, end_s - BEFORE_S, step), step
    return metrics.window(count * step, end_s, step), step


def _readable(seconds: float) -> float:
    return next((step for step in STEPS_S if step >= seconds - 1e-9), seconds)


def _heatmap(steps: Sequence[Histogram], count: int) -> Heatmap:
    bounds = steps[0].bounds if steps else catalogue.DURATION_BUCKETS_S
    empty = [0] * (len(bounds) + 1)
    return Heatmap(
        bounds_ms=[round(bound * 1e3, 6) for bound in bounds],
        counts=[list(step.counts) for step in steps] or [list(empty) for _ in range(count)],
    )


def _utilisation(busy_per_s: Steps, workers: Steps) -> Steps:
    """Step by step, from busy seconds a second and the workers that were there."""
    shares = [
        None if busy is None else utilisation(busy, number or 0.0)
        for busy, number in zip(busy_per_s, workers, strict=False)
    ]
    return [None if share is None else round(share, 4) for share in shares]


def _counts(series: Series[Measured] | None) -> Series[float] | None:
    if series is None:
        return None
    return Series(series.start_s, series.step_s, tuple(float(each.count) for each in series.values))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)


def _rounded(values: Iterable[float | None]) -> Steps:
    return [None if value is None else round(value, 3) for value in values]
