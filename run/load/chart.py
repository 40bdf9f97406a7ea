"""A load over time, as inline SVG with the colours of the reports' stylesheet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

from monitoring.reports.charts import END, HEIGHT, nice
from run.load.figures import KINDS

_LINES = ("p50", "p95", "p99")


def requests(over_time: dict[str, Any]) -> Markup:
    """Requests a second as bars, stacked by what became of them, by when they were due."""
    step_s, found = over_time["step_s"], over_time["requests"]
    steps = len(found["ok"])
    top = nice(max(sum(found[kind][i] for kind in KINDS) for i in range(steps)) / step_s)
    bars = []
    for i in range(steps):
        base, rects = 0.0, []
        for kind in KINDS:
            height = HEIGHT * found[kind][i] / step_s / top
            if height:
                rects.append(
                    f'<rect class="o-{kind}" x="{i + 0.08:.2f}" width="0.84" '
                    f'y="{HEIGHT - base - height:.2f}" height="{height:.2f}"/>'
                )
                base += height
        listed = ", ".join(f"{kind} {found[kind][i]:,}" for kind in KINDS if found[kind][i])
        bars.append(f"<g><title>{i * step_s} s: {escape(listed)}</title>{''.join(rects)}</g>")
    legend = [(f"o-{kind}", kind) for kind in KINDS if any(found[kind])]
    return _plot("Requests a second", bars, steps, step_s, top, "/s", legend)


def latency(over_time: dict[str, Any]) -> Markup:
    """Percentiles of each step; a line breaks where nothing was due."""
    values = {name: over_time[f"latency_{name}_ms"] for name in _LINES}
    top = nice(max((v for each in values.values() for v in each if v is not None), default=0.0))
    shapes = [shape for name in _LINES for shape in _runs(values[name], top, name)]
    legend = [(f"l-{name}", name) for name in _LINES]
    steps = len(values["p50"])
    return _plot("Latency", shapes, steps, over_time["step_s"], top, " ms", legend)


def _runs(values: Sequence[float | None], top: float, name: str) -> list[str]:
    shapes = []
    for measured, run in groupby(enumerate(values), key=lambda each: each[1] is not None):
        if measured:
            points = [(i + 0.5, HEIGHT * (1 - (value or 0.0) / top)) for i, value in run]
            if len(points) == 1:
                x, y = points[0]
                points = [(x - 0.4, y), (x + 0.4, y)]
            listed = " ".join(f"{x:.1f},{y:.2f}" for x, y in points)
            shapes.append(f'<polyline class="l-{name}" points="{listed}"/>')
    return shapes


def _plot(
    name: str, shapes: Sequence[str], steps: int, step_s: float, top: float, unit: str,
    legend: Sequence[tuple[str, str]],
) -> Markup:  # fmt: skip
    grid = "".join(
        f'<line class="grid" x1="0" x2="{steps}" y1="{HEIGHT * (1 - share):g}" '
        f'y2="{HEIGHT * (1 - share):g}"/>'
        for share in (0.0, 0.5, 1.0)
    )
    ys = "".join(
        f'<li style="bottom:{100 * share:g}%">{top * share:,g}{unit}</li>'
        for share in (0.0, 0.5, 1.0)
    )
    every = nice(steps * step_s / 6)
    marks = [i * every for i in range(7) if i * every < steps * step_s * 0.97]
    xs = "".join(
        f"<li{END if mark / (steps * step_s) > 0.86 else ''} "
        f'style="left:{100 * mark / (steps * step_s):.2f}%">{mark:g} s</li>'
        for mark in marks
    )
    items = "".join(f'<li><i class="{c}"></i>{escape(text)}</li>' for c, text in legend)
    return Markup(
        f'<div class="plot"><ol class="y">{ys}</ol>'
        f'<svg viewBox="0 0 {steps} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(name)}">{grid}{"".join(shapes)}</svg><ol class="x">{xs}</ol></div>'
        f'<ul class="legend">{items}</ul>'
    )
