"""What is left of each objective's error budget: what `GET /api/v1/slo` answers.

Counts are exact. What was not measured, or of too few requests to say, is None, never 0.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from pydantic import BaseModel

from monitoring.alerts import burn
from monitoring.alerts.objectives import Objective
from monitoring.figures.observed import HEARD
from monitoring.messages import Message
from monitoring.stores.contract import MetricsStore, Window

#: Window of what is called the burn rate now.
NOW_S: Final = 3600.0
#: Seconds for which an answer stands: it is of weeks.
FRESH_S: Final = 30.0
#: How exactly the beginning of the history is looked for.
_STEP_S: Final = 3600.0


class BurnRate(BaseModel):
    """How fast a budget burns: at 1 it lasts for exactly the objective's window."""

    window_s: float
    #: None with too few requests in the window.
    value: float | None


class Budget(BaseModel):
    """One objective, and how it stands. Shares are 0..1, moments seconds since the Unix epoch."""

    name: str
    sli: Literal["availability", "latency"]
    description: Message
    #: Share of the requests that is to be good.
    target: float
    #: Of `latency`: what is answered within this is good.
    threshold_s: float | None
    window_s: float
    #: Since when the service is known, where that is not the whole window: all is of that time.
    since_at: float | None
    requests: int
    bad: int
    #: Share of the requests that was good; None without any.
    reached: float | None
    #: Share of the error budget that is left: 1 untouched, 0 spent, less when overspent. None with
    #: fewer requests than the objective's `at_least`.
    left: float | None
    #: Over the last hour.
    burn_rate: float | None
    burn_rates: list[BurnRate]


class Budgets(BaseModel):
    """All objectives."""

    #: When this was read.
    at: float
    objectives: list[Budget]


def budgets(
    metrics: MetricsStore, objectives: Sequence[Objective], now_s: float | None = None
) -> Budgets:
    """How all objectives stand. Raises Unavailable when the store cannot be read."""
    now_s = time.time() if now_s is None else now_s
    windows = {each.window: metrics.window(each.window, now_s, _STEP_S) for each in objectives}
    since = {length: _since(metrics, window, now_s) for length, window in windows.items()}
    return Budgets(
        at=round(now_s, 3),
        objectives=[
            _budget(metrics, each, windows[each.window], since[each.window], now_s)
            for each in objectives
        ],
    )


def _budget(
    metrics: MetricsStore, objective: Objective, window: Window, since_s: float | None, now_s: float
) -> Budget:
    found = burn.counts(metrics, objective, window)
    share = found.bad / found.total if found.total else None
    rates = [
        BurnRate(window_s=seconds, value=_rounded(_rate(metrics, objective, seconds, now_s)))
        for seconds in burn.WINDOWS_S
    ]
    enough = share is not None and found.total >= objective.at_least
    return Budget(
        name=objective.name,
        sli=objective.sli,
        description=Message(en=objective.description.en, zh=objective.description.zh),
        target=objective.target,
        threshold_s=objective.threshold,
        window_s=objective.window,
        since_at=since_s,
        requests=found.total,
        bad=found.bad,
        reached=None if share is None else _rounded(1 - share),
        left=_rounded(1 - share / objective.budget) if enough and share is not None else None,
        burn_rate=next(each.value for each in rates if each.window_s == NOW_S),
        burn_rates=rates,
    )


def _rate(
    metrics: MetricsStore, objective: Objective, seconds: float, now_s: float
) -> float | None:
    found = burn.counts(metrics, objective, Window.last(seconds, now_s))
    return burn.rate(objective, seconds, found)


def _since(metrics: MetricsStore, window: Window, now_s: float) -> float | None:
    """When a frontend was first heard of in the window; None where that was at its beginning."""
    heard = [
        at
        for level in HEARD
        for series in metrics.gauge_series(level, window, _STEP_S, across=level.across[0]).values()
        for at, value in zip(series.times_s, series.values, strict=True)
        if value is not None
    ]
    first_s = min(heard, default=now_s)
    # The first steps may be gone already where data is kept no longer than the window.
    return None if first_s <= window.start_s + 2 * _STEP_S else round(first_s, 3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


class RecentBudgets:
    """Reads them at most once in a while, whoever asks. To be called from threads."""

    def __init__(
        self,
        metrics: MetricsStore,
        objectives: Sequence[Objective],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics, self._objectives, self._clock = metrics, objectives, clock
        self._lock = threading.Lock()
        self._last: Budgets | None = None

    def read(self) -> Budgets:
        """Raises Unavailable when the store cannot be read."""
        with self._lock:
            now_s = self._clock()
            if self._last is None or not 0 <= now_s - self._last.at < FRESH_S:
                self._last = budgets(self._metrics, self._objectives, now_s)
            return self._last
