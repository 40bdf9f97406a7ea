"""How fast error budgets burn, and the alerts about it: for both stores, from one definition.

A burn rate is the share of bad requests over the share that may be bad: at 1 the budget lasts
exactly its window. Windows, factors and severities are those of Google's SRE Workbook, chapter
5, "Multiwindow, Multi-Burn-Rate Alerts" (https://sre.google/workbook/alerting-on-slos/).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from monitoring.alerts.objectives import Objective
from monitoring.messages import Severity
from monitoring.stores import promql
from monitoring.stores.contract import MetricsStore, Window
from telemetry import catalogue
from telemetry.outcomes import COUNTED, FAILURES

#: PromQL of how many requests of a window were counted, and of how many were bad.
Counters = Callable[[float], tuple[str, str]]
_OK: Final = {"outcome": "ok"}


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that an objective is about, and the bad ones among them."""

    total: int = 0
    bad: int = 0


@dataclass(frozen=True, slots=True)
class Tier:
    """One pair of windows: the alert fires while both burn faster than `factor`.

    The short one ends it soon after what is wrong has ended.
    """

    factor: float
    long_s: float
    short_s: float
    severity: Severity


TIERS: Final = (
    Tier(14.4, 3600.0, 300.0, "critical"),
    Tier(6.0, 6 * 3600.0, 1800.0, "critical"),
    Tier(1.0, 3 * 86400.0, 6 * 3600.0, "warning"),
)
#: Windows so long or longer say nothing when they have few requests.
LEAST_FROM_S: Final = 3600.0
#: Seconds between two measurements: the shortest window is of five minutes.
EVERY_S: Final = 60.0
#: Every window that a burn rate is taken over, the shortest first.
WINDOWS_S: Final = tuple(sorted({s for tier in TIERS for s in (tier.long_s, tier.short_s)}))


def tiers(objective: Objective) -> list[Tier]:
    """Those that can fire: when all requests are bad, a large budget burns slowly still."""
    return [tier for tier in TIERS if tier.factor * objective.budget < 1]


# -- counts -------------------------------------------------------------------------------


def counts(metrics: MetricsStore, objective: Objective, window: Window) -> Counts:
    """What an objective counts in a window. Raises Unavailable when the store cannot be read."""
    if objective.sli == "availability":
        found = metrics.increase(catalogue.REQUESTS, window, by=("outcome",))
        ended = {outcome: round(count) for (outcome,), count in found.items()}
        limited = round(metrics.increase(catalogue.REQUESTS_LIMITED, window).get((), 0.0))
        total, bad = (
            max(0, sum(ended.get(outcome, 0) for outcome in those) - limited)
            for those in (COUNTED, FAILURES)
        )
        return Counts(total, bad)
    answered = metrics.histogram(catalogue.REQUEST_DURATION, window, where=_OK).get(())
    if answered is None or objective.threshold not in answered.bounds:
        return Counts()  # none, or of a sender whose bounds are others
    within = answered.bounds.index(objective.threshold) + 1
    return Counts(answered.count, sum(answered.counts[within:]))


def counters(objective: Objective) -> Counters:
    """The same in PromQL: all requests, and the bad ones."""
    return _available if objective.sli == "availability" else _in_time(objective.threshold)


def _available(window_s: float) -> tuple[str, str]:
    limited = _sum(promql.selector(catalogue.REQUESTS_LIMITED), window_s)
    ended = [
        promql.selector(catalogue.REQUESTS, extra=f'outcome=~"{"|".join(those)}"')
        for those in (COUNTED, FAILURES)
    ]
    total, bad = (f"clamp_min({_sum(series, window_s)} - {limited}, 0)" for series in ended)
    return total, bad


def _in_time(threshold_s: float | None) -> Counters:
    # As OpenMetrics writes bounds, and as Prometheus' older format does.
    bound = f'le=~"{float(threshold_s or 0)!r}|{threshold_s:g}"'.replace(".", "[.]")

    def text(window_s: float) -> tuple[str, str]:
        answered, within = (
            _sum(promql.selector(catalogue.REQUEST_DURATION, _OK, part, extra=extra), window_s)
            for part, extra in (("_count", ""), ("_bucket", bound))
        )
        return answered, f"clamp_min({answered} - {within}, 0)"

    return text


def _sum(series: str, window_s: float) -> str:
    return f"(sum({promql.growth(series, window_s)}) or vector(0))"


# -- burn rates ---------------------------------------------------------------------------


def _least(objective: Objective, window_s: float) -> tuple[int, int]:
    """Requests, and bad ones, that a window must have: one in the shortest windows, which only
    end what a longer one says."""
    is_long = window_s >= LEAST_FROM_S
    return (objective.at_least, objective.at_least_bad) if is_long else (1, 1)


def rate(objective: Objective, window_s: float, found: Counts) -> float | None:
    """How fast the budget burns; None with too few requests. Too few bad ones are none."""
    least, least_bad = _least(objective, window_s)
    if found.total < least:
        return None
    return (found.bad if found.bad >= least_bad else 0) / found.total / objective.budget


def rate_promql(objective: Objective, window_s: float, total: str, bad: str) -> str:
    """The same in PromQL, from what counts all requests and the bad ones."""
    least, least_bad = _least(objective, window_s)
    counted = bad if least_bad == 1 else f"(({bad} >= {least_bad}) or {bad} * 0)"
    return f"{counted} / ({total} >= {least}) / {objective.budget!r}"


def slower(metrics: MetricsStore, objective: Objective, tier: Tier, now_s: float) -> float | None:
    """The slower of a tier's two burn rates: it is beyond the factor when both are.

    None where one of the two was not measured. Raises Unavailable.
    """
    rates = []
    for window_s in (tier.short_s, tier.long_s):  # the cheaper one first
        found = counts(metrics, objective, Window.last(window_s, now_s))
        measured = rate(objective, window_s, found)
        if measured is None:
            return None
        rates.append(measured)
    return min(rates)


def slower_promql(short: str, long: str) -> str:
    """The same in PromQL, from both burn rates."""
    return f"({short} <= {long}) or ({long} < {short})"
