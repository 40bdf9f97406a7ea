"""The report's charts as inline SVG, which needs no script and prints as it is seen.

An SVG is stretched to the width that there is; the labels are HTML beside it, so that they
keep their size. Colours are classes of report.css.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from monitoring.reports import format as written
from monitoring.reports.schema import Day, Stage, Timeline
from monitoring.reports.sentences import Sentences

#: Height of a plot in its own units; its width is one unit a step.
HEIGHT = 100.0
#: Days named below a plot at most.
X_LABELS = 8
#: A heat map's cell, in units, and the gap around it.
CELL, GAP = 10.0, 0.6

_LINES = ("p50", "p95", "p99")


def requests(line: Timeline, says: Sentences) -> Markup:
    """Requests of each step as bars, stacked by outcome."""
    steps = max((len(counts) for counts in line.requests.values()), default=0)
    totals = [sum(counts[i] for counts in line.requests.values()) for i in range(steps)]
    top = nice(max(totals, default=0))
    bars = []
    for i, total in enumerate(totals):
        if not total:
            continue
        at, base, rects = line.start_at + i * line.step_s, 0.0, []
        for outcome, counts in line.requests.items():
            height = HEIGHT * counts[i] / top
            if height:
                rects.append(
                    f'<rect class="o-{escape(outcome)}" x="{i + 0.08:.2f}" width="0.84" '
                    f'y="{HEIGHT - base - height:.2f}" height="{height:.2f}"/>'
                )
                base += height
        listed = ", ".join(
            f"{says.outcome(outcome)} {written.count(counts[i])}"
            for outcome, counts in line.requests.items()
            if counts[i]
        )
        title = f"{says.moment(at)}: {listed}"
        bars.append(f"<g><title>{escape(title)}</title>{''.join(rects)}</g>")
    legend = [(f"o-{outcome}", says.outcome(outcome)) for outcome in line.requests]
    ticks = _ticks(top, written.decimal)
    return _plot(says.words["traffic"], bars, line, steps, ticks, legend, says.zone)


def latency(line: Timeline, says: Sentences) -> Markup:
    """Percentiles over time; the lines break where nothing was measured."""
    values = {name: getattr(line, f"latency_{name}_ms") for name in _LINES}
    highest = max((v for each in values.values() for v in each if v is not None), default=0.0)
    top = nice(highest)
    shapes = [shape for name in _LINES for shape in _runs(values[name], top, f"l-{name}")]
    legend = [(f"l-{name}", name) for name in _LINES]
    steps = len(values["p50"])
    ticks = _ticks(top, written.milliseconds)
    return _plot(says.words["latency"], shapes, line, steps, ticks, legend, says.zone)


def stages(found: Sequence[Stage], says: Sentences) -> Markup:
    """Each stage's share of the time, as one bar."""
    rects, x = [], 0.0
    for stage in found:
        width = 1000 * stage.share
        title = f"{says.stage(stage.stage)}: {written.share(stage.share)}"
        drawn = max(width - 1.5, 0.5)
        rects.append(
            f'<rect class="s-{escape(stage.stage)}" x="{x:.2f}" width="{drawn:.2f}" '
            f'y="0" height="10"><title>{escape(title)}</title></rect>'
        )
        x += width
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(says.words["stages"])}">{"".join(rects)}</svg>'
    )


def calendar(days: Sequence[Day], says: Sentences) -> Markup:
    """Requests by day (down) and hour (across): the darker, the busier."""
    most = max((count for day in days for count in day.hours if count), default=0)
    cells = []
    for row, day in enumerate(days):
        for hour, count in enumerate(day.hours):
            if count is None:
                continue
            title = f"{day.date} {hour:02}:00: {written.count(count)}"
            level = math.sqrt(count / most) if most else 0.0
            fill = f' style="fill-opacity:{0.1 + 0.9 * level:.3f}"' if count else ' class="none"'
            cells.append(
                f'<rect x="{hour * CELL + GAP:.1f}" y="{row * CELL + GAP:.1f}" '
                f'width="{CELL - 2 * GAP:.1f}" height="{CELL - 2 * GAP:.1f}"{fill}>'
                f"<title>{escape(title)}</title></rect>"
            )
    hours = "".join(
        f'<li style="left:{100 * (hour + 0.5) / 24:.2f}%">{hour:02}</li>'
        for hour in range(0, 24, 2)
    )
    names = "".join(f"<li>{escape(_short_date(day.date, says))}</li>" for day in days)
    return Markup(
        f'<div class="heat" style="--rows:{len(days)}"><ol class="x">{hours}</ol>'
        f'<ol class="days">{names}</ol>'
        f'<svg viewBox="0 0 {24 * CELL:.0f} {len(days) * CELL:.0f}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(says.words["hours"])}">{"".join(cells)}</svg></div>'
    )


#: From this part of the axis on there is no room for a name to its right on a telephone.
END_FROM, END = 0.86, ' class="end"'


def nice(highest: float) -> float:
    """The round number at or above `highest` at which an axis ends; 1 for nothing."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(f * power for f in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if f * power >= highest * 0.9999)


def _ticks(top: float, write: Callable[[float], str]) -> list[tuple[float, str]]:
    return [(share, write(top * share)) for share in (0.0, 0.5, 1.0)]


def _runs(values: Sequence[float | None], top: float, name: str) -> Iterable[str]:
    """A line for each run of values; a lone value is a short dash."""
    for measured, run in groupby(enumerate(values), key=lambda each: each[1] is not None):
        if not measured:
            continue
        points = [(i + 0.5, HEIGHT * (1 - (value or 0.0) / top)) for i, value in run]
        if len(points) == 1:
            x, y = points[0]
            points = [(x - 0.4, y), (x + 0.4, y)]
        listed = " ".join(f"{x:.1f},{y:.2f}" for x, y in points)
        yield f'<polyline class="{name}" points="{listed}"/>'


def _plot(
    name: str,
    shapes: Sequence[str],
    line: Timeline,
    steps: int,
    ticks: Sequence[tuple[float, str]],
    legend: Sequence[tuple[str, str]],
    zone: ZoneInfo,
) -> Markup:
    width = max(steps, 1)
    grid = "".join(
        f'<line class="grid" x1="0" x2="{width}" y1="{HEIGHT * (1 - share):g}" '
        f'y2="{HEIGHT * (1 - share):g}"/>'
        for share, _ in ticks
    )
    ys = "".join(
        f'<li style="bottom:{100 * share:g}%">{escape(text)}</li>' for share, text in ticks
    )
    xs = "".join(
        f'<li{END if part > END_FROM else ""} style="left:{100 * part:.2f}%">{escape(text)}</li>'
        for part, text in _days(line, width, zone)
    )
    items = "".join(f'<li><i class="{escape(c)}"></i>{escape(text)}</li>' for c, text in legend)
    return Markup(
        f'<div class="plot"><ol class="y">{ys}</ol>'
        f'<svg viewBox="0 0 {width} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(name)}">{grid}{"".join(shapes)}</svg><ol class="x">{xs}</ol></div>'
        f'<ul class="legend">{items}</ul>'
    )


def _days(line: Timeline, steps: int, zone: ZoneInfo) -> list[tuple[float, str]]:
    """Where days begin within the plot (0..1), with their dates; hours where it is one day."""
    start = datetime.fromtimestamp(line.start_at, zone)
    length_s = steps * line.step_s
    found: list[tuple[float, str]] = []
    if length_s <= 86400 * 1.5:
        moment, every, name = start.replace(minute=0), timedelta(hours=4), "%H:%M"
    else:
        midnight = start.replace(hour=0, minute=0)
        moment, name = midnight, "%m-%d"
        every = timedelta(days=math.ceil(length_s / 86400 / X_LABELS))
    while (offset_s := moment.timestamp() - line.start_at) < length_s:
        if 0 <= offset_s < 0.95 * length_s:  # a name at the very edge has no room
            found.append((offset_s / length_s, f"{moment:{name}}"))
        moment += every
    return found


def _short_date(date: str, says: Sentences) -> str:
    day = datetime.fromisoformat(date)
    names = says.words["weekdays"].split()
    return f"{names[day.weekday()]} {day:%m-%d}"
