"""Single images worth a look: the slowest, the failed, and why they failed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from monitoring.reports.schema import Cause, Failures, Image
from monitoring.stores.contract import TraceStore, TraceSummary, Window
from telemetry import catalogue

#: Length of the lists of single images.
LIST = 10
#: How many of the newest failed images causes are counted over: traces are read one by one.
LOOKED_AT = 200
#: Causes listed, and traces given for each.
CAUSES, EXAMPLES = 10, 5
#: An error's message may hold what a client sent: no more of it than this.
MESSAGE_MAX = 300


def slowest(traces: TraceStore, window: Window) -> list[Image]:
    """The slowest of the images that succeeded."""
    found = traces.search(limit=LIST, status="ok", window=window, order="slowest")
    return [_image(each) for each in found]


def failures(traces: TraceStore, window: Window, count: int) -> Failures:
    """The newest failed images and their causes; `count` is how many failed in all."""
    found = traces.search(limit=LOOKED_AT, status="error", window=window) if count else []
    return Failures(
        count=count,
        looked_at=len(found),
        causes=causes(found),
        images=[_image(each) for each in found[:LIST]],
    )


def causes(failed: Sequence[TraceSummary]) -> list[Cause]:
    """Failed images, newest first, by what went wrong; the most frequent cause first.

    Messages that differ in numbers only (sizes, positions, ids) are one cause.
    """
    groups: dict[tuple[str, str, str], list[TraceSummary]] = {}
    for each in failed:
        kind = (each.outcome, each.error_type or "", re.sub(r"\d+", "0", each.error_message or ""))
        groups.setdefault(kind, []).append(each)
    found = [
        Cause(
            outcome=outcome,
            error_type=error_type,
            message=_short(group[0].error_message) or "",
            count=len(group),
            last_at=group[0].start_unix_ns / 1e9,
            trace_ids=_distinct(each.trace_id for each in group)[:EXAMPLES],
        )
        for (outcome, error_type, _), group in groups.items()
    ]
    return sorted(found, key=lambda cause: (-cause.count, -cause.last_at))[:CAUSES]


def _image(summary: TraceSummary) -> Image:
    stages = {name: ms for name, ms in summary.stages_ms.items() if name in catalogue.STAGES}
    longest = max(stages, key=lambda name: stages[name], default=None)
    return Image(
        trace_id=summary.trace_id,
        at=summary.start_unix_ns / 1e9,
        duration_ms=summary.duration_ms,
        outcome=summary.outcome,
        route=summary.route,
        error_type=summary.error_type,
        error_message=_short(summary.error_message),
        longest_stage=longest,
        longest_ms=stages[longest] if longest else None,
    )


def _short(message: str | None) -> str | None:
    if message is None or len(message) <= MESSAGE_MAX:
        return message
    return message[: MESSAGE_MAX - 1] + "…"


def _distinct(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(ids))
