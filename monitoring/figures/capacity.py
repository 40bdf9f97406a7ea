"""What the workers can hold, from the time that an image takes of them.

The formulas are those of monitoring.figures.utilisation. What they have to hold is the rate of
the window's busiest minute, not its mean: a month's nights are idle, and hold no image back.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from pydantic import BaseModel

from monitoring.figures.levels import mean_of
from monitoring.figures.observed import Observed, Rate, rate, steps, stretches
from monitoring.figures.utilisation import (
    TARGET,
    busy_s_per_image,
    per_worker_per_s,
    seconds_there,
    utilisation,
    workers_needed,
)
from monitoring.figures.window import Levels
from monitoring.stores.contract import Measured, MetricsStore, Series, Window
from telemetry import catalogue

Verdict = Literal["idle", "holds", "tight", "grows", "unknown"]

#: The busiest time is told by the minute; in a window of more than three days by ten minutes:
#: the embedded store keeps no finer ones of what is older.
MINUTE_S: Final = 60.0
LONG_S, LONG_MINUTES_S = 72 * 3600.0, 600.0


class Capacity(BaseModel):
    """None is what was not measured in the window."""

    #: Seconds that one image keeps a worker busy.
    busy_s_per_image: float | None
    #: Images a second that one worker can do when it never waits.
    per_worker_per_s: float | None
    #: Images a second that came into the queue, over the time that was observed.
    arriving_per_s: float
    #: The same in the busiest `peak_s` seconds of the window, and when those began (Unix time).
    arriving_peak_per_s: float
    peak_at: float | None
    peak_s: float | None
    #: Share of their time that the workers were busy, 0..1.
    utilisation: float | None
    #: Workers that are ready now.
    workers: int | None
    #: Workers that would hold what arrives in the busiest time, busy 80 % of their time.
    workers_needed: int | None
    #: `idle`: nothing arrives. `holds`, `tight`: below and above 80 % busy in the busiest time.
    #: `grows`: the queue does, or more arrived then than the workers can do.
    verdict: Verdict


def capacity(
    metrics: MetricsStore,
    window: Window,
    now_s: float,
    levels: Levels,
    batches: Measured,
    seen: Observed,
) -> Capacity:
    """Raises Unavailable when the store cannot be read."""
    busy_s = math.fsum(metrics.increase(catalogue.WORKER_BUSY, window).values())
    arriving = _arriving(metrics, window, now_s, seen)
    ready = levels.busy.plus(levels.idle)
    per_image = busy_s_per_image(busy_s, batches.sum)
    step_s = window.elapsed_s(now_s) / max(1, len(ready.steps))
    busy = utilisation(busy_s, seconds_there(ready.steps, [step_s] * len(ready.steps)))
    workers = None if ready.now is None else round(ready.now)
    peak_per_s = arriving.peak_per_s if arriving else 0.0
    found = bool(arriving and arriving.peak_per_s)
    return Capacity(
        busy_s_per_image=_rounded(per_image, 6),
        per_worker_per_s=_rounded(per_worker_per_s(per_image), 3),
        arriving_per_s=round(arriving.mean_per_s, 4) if arriving else 0.0,
        arriving_peak_per_s=round(peak_per_s, 4),
        peak_at=arriving.peak_at_s if arriving and found else None,
        peak_s=round(arriving.peak_s, 3) if arriving and found else None,
        utilisation=_rounded(busy, 4),
        workers=workers,
        workers_needed=workers_needed(peak_per_s, per_image),
        verdict=verdict(peak_per_s, per_image, busy, workers, levels.depth.steps),
    )


def _arriving(metrics: MetricsStore, window: Window, now_s: float, seen: Observed) -> Rate | None:
    """Images that came into the queue, by the minute."""
    least_s = MINUTE_S if window.seconds <= LONG_S else LONG_MINUTES_S
    found: list[Series[float]] = []
    for part in stretches(window):
        uploads = metrics.measured_series(
            catalogue.STAGE_DURATION, part, least_s, where={"stage": "upload"}
        )
        found += [
            Series(each.start_s, each.step_s, tuple(float(step.count) for step in each.values))
            for each in uploads.values()
        ]
    return rate(steps(found, seen, now_s, window.end_s), least_s)


def verdict(
    peak_per_s: float,
    per_image_s: float | None,
    busy: float | None,
    workers: int | None,
    depth: list[float | None],
) -> Verdict:
    """What the figures mean: `busy` and `depth` (oldest first) are of the whole window."""
    if workers is None:
        return "unknown"
    if rises(depth, workers) or (peak_per_s and workers == 0):
        return "grows"
    if not peak_per_s:
        return "idle"
    if per_image_s is None or busy is None:
        return "unknown"
    load = peak_per_s * per_image_s / workers
    if load > 1:
        return "grows"
    return "holds" if max(load, busy) <= TARGET else "tight"


def rises(depth: list[float | None], workers: int) -> bool:
    """Whether the last third of the window had more waiting than the first.

    By more than each worker takes in one go: a queue comes and goes a little at any load.
    """
    third = max(1, len(depth) // 3)
    first, last = mean_of(depth[:third]), mean_of(depth[-third:])
    return first is not None and last is not None and last > first + max(1, 2 * workers)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
