"""Times: the stages of one image as a stacked bar, durations, moments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

from frontend.pages.i18n import Texts
from telemetry.catalogue import STAGES

#: Between a figure and its unit: no line ends there.
NBSP = "\u00a0"


def milliseconds(value: float) -> str:
    """A duration with as many digits as are of use: `0.42 ms`, `8.3 ms`, `74 ms`, `1.25 s`."""
    if value == 0:
        return f"0{NBSP}ms"
    if value >= 1000:
        return f"{value / 1000:.2f}{NBSP}s"
    digits = 2 if value < 1 else 1 if value < 10 else 0
    return f"{value:.{digits}f}{NBSP}ms"


def bar(stages_ms: Mapping[str, float], texts: Texts) -> str:
    """The bar alone. Its parts are in proportion; a stage that took anything is seen."""
    parts = "".join(
        f'<i class="stage-{stage}" style="flex-grow:{stages_ms[stage]:.4f}" '
        f'title="{escape(texts["stage." + stage])}: {milliseconds(stages_ms[stage])}"></i>'
        for stage in STAGES
        if stages_ms.get(stage, 0) > 0
    )
    return f'<div class="ds-bar">{parts}</div>'


def bar_with_legend(stages_ms: Mapping[str, float], total_ms: float, texts: Texts) -> str:
    """The bar, each stage's figure below it, and the total."""
    items = "".join(
        f'<li><i class="stage-{stage}"></i><span>{escape(texts["stage." + stage])}</span>'
        f"<b>{milliseconds(stages_ms.get(stage, 0.0))}</b></li>"
        for stage in STAGES
    )
    return (
        f'<section class="ds-timings"><h3>{escape(texts["timings"])}'
        f"<b>{milliseconds(total_ms)}</b></h3>"
        f'{bar(stages_ms, texts)}<ul class="ds-legend">{items}</ul></section>'
    )


def moment(unix_ns: int) -> str:
    """A point in time, which the page's script writes in the browser's own time zone."""
    utc = datetime.fromtimestamp(unix_ns / 1e9, UTC)
    return f'<time datetime="{utc.isoformat()}">{utc:%Y-%m-%d %H:%M:%S} UTC</time>'
