"""The trace that shows what an alert is about, as it is when the alert fires."""

from __future__ import annotations

import logging

from monitoring.alerts.rules import Rule
from monitoring.stores.contract import TraceStore, TraceSummary, Window
from pipeline.errors import Unavailable

log = logging.getLogger("damoscope.alerts")

#: Where a figure of the moment looks for its example, in seconds.
MOMENT_S = 300.0
#: Requests among which the one with the slowest stage, or of the right route, is looked for.
AMONG = 50


def find(rule: Rule, traces: TraceStore, now_s: float) -> str | None:
    """The slowest request of the rule's window, or the last that failed; None without one."""
    if rule.figure.example is None:
        return None
    # A request that began in the window may have ended after it, and one that ended in it
    # may have begun before: look back a little further than the figure does.
    window = Window(now_s - (rule.window or MOMENT_S) - 60, now_s + 1)
    try:
        if rule.figure.example == "failed":
            found = traces.search(limit=AMONG, status="error", window=window)
        else:
            found = traces.search(limit=AMONG, status="ok", window=window, order="slowest")
    except Unavailable as error:
        log.warning("%s: no example: %s", rule.name, error)
        return None
    found = [each for each in found if _fits(rule, each)]
    if stage := rule.where.get("stage"):
        found.sort(key=lambda each: -each.stages_ms.get(stage, 0.0))
    return found[0].trace_id if found else None


def _fits(rule: Rule, summary: TraceSummary) -> bool:
    route, stage = rule.where.get("route"), rule.where.get("stage")
    return route in (None, summary.route) and (stage is None or stage in summary.stages_ms)
