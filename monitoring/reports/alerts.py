"""Alerts of the period, from the ledger that the watcher and the webhook keep."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from redis.exceptions import RedisError

from monitoring.alerts.ledger import HISTORY_MAX
from monitoring.alerts.schema import Episode
from monitoring.reports.schema import Fired, FiredAlerts, Period
from monitoring.stores.contract import Window
from pipeline.errors import Unavailable

log = logging.getLogger("damoscope.report")

_SEVERITIES = {"critical": 0, "warning": 1, "info": 2}


class History(Protocol):
    """What of the alerts' ledger a report reads."""

    def history(self, limit: int) -> Sequence[Episode]:
        """Times that alerts fired, newest first."""
        ...


def episodes(ledger: History | None) -> list[Episode] | None:
    """Every time that an alert fired; None where that cannot be read."""
    if ledger is None:
        return None
    try:
        return list(ledger.history(HISTORY_MAX))
    except (RedisError, Unavailable, OSError) as error:
        log.warning("the history of alerts cannot be read: %s", error)
        return None


def fired(found: Iterable[Episode] | None, window: Window, now_s: float) -> FiredAlerts:
    """Alerts that fired in the window, or fired still when it began; the worst first."""
    if found is None:
        return FiredAlerts(known=False, fired=[])
    groups: dict[str, list[Episode]] = {}
    for each in found:
        if each.fired_at < window.end_s and (each.resolved_at or now_s) >= window.start_s:
            groups.setdefault(each.name, []).append(each)
    alerts = [_fired(group, window, now_s) for group in groups.values()]
    order = sorted(alerts, key=lambda each: (_SEVERITIES[each.severity], -each.last_at))
    return FiredAlerts(known=True, fired=order)


def critical_share(found: Iterable[Episode] | None, period: Period, now_s: float) -> float | None:
    """Share of the time that the service was seen in which a critical alert fired."""
    if found is None or not period.observed_s:
        return None
    window = Window(period.start_at, period.end_at)
    return min(1.0, critical_s(found, window, now_s) / period.observed_s)


def critical_s(found: Iterable[Episode], window: Window, now_s: float) -> float:
    """Seconds of the window in which at least one critical alert fired."""
    total_s, reached_s = 0.0, window.start_s
    for start_s, end_s in sorted(
        _within(each, window, now_s) for each in found if each.severity == "critical"
    ):
        total_s += max(0.0, end_s - max(start_s, reached_s))
        reached_s = max(reached_s, end_s)
    return total_s


def _fired(group: Sequence[Episode], window: Window, now_s: float) -> Fired:
    newest = max(group, key=lambda each: each.fired_at)
    spans = [_within(each, window, now_s) for each in group]
    return Fired(
        name=newest.name,
        severity=newest.severity,
        message=newest.message,
        times=len(group),
        seconds=round(sum(end_s - start_s for start_s, end_s in spans), 3),
        last_at=newest.fired_at,
        firing=any(each.resolved_at is None for each in group),
        example_trace_id=next((e.example_trace_id for e in group if e.example_trace_id), None),
        delivery=newest.delivery,
        notified=newest.notified,
        silenced=newest.silenced,
    )


def _within(episode: Episode, window: Window, now_s: float) -> tuple[float, float]:
    start_s = max(episode.fired_at, window.start_s)
    resolved_s = now_s if episode.resolved_at is None else episode.resolved_at
    return start_s, max(start_s, min(resolved_s, window.end_s, now_s))
