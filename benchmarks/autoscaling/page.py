"""The table and the plot of docs/kubernetes.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks.autoscaling.figures import START_S, Outcome
from benchmarks.autoscaling.service import HOUR
from run.generate.generated import Generated, table

WIDTH, HEIGHT = 880, 548
LEFT, GAP, TOP, PANEL_W, PANEL_H = 56, 66, 100, 354, 172
COLORS = ("#0f766e", "#d97706", "#2563eb", "#be185d", "#94a3b8")
INK, FAINT, GRID = "#0f172a", "#64748b", "#e2e8f0"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif"
#: Seconds about the start that the right panels show.
BEFORE_S, AFTER_S = 60.0, 300.0


def write(path: Path, found: list[Outcome]) -> None:
    """Between the marks of the page."""
    Generated(str(path), lambda: table_of(found), "autoscaling").write()


def table_of(found: list[Outcome]) -> str:
    """A row for each way."""
    head = ("workers", "worker hours", "refused", "p95 of the first 5 minutes",
            "all within 1 s after", "p95 of the day")  # fmt: skip
    rows = [
        (
            each.title, f"{each.worker_hours:.1f}", _share(each), f"{each.first_p95_s:.2f} s",
            f"{each.settled_s:.0f} s" if each.settled_s < HOUR else "not before noon",
            f"{each.day_p95_s * 1000:.0f} ms",
        )
        for each in found
    ]  # fmt: skip
    return table(head, *rows)


def _share(each: Outcome) -> str:
    return f"{each.refused:,} ({each.refused / (each.refused + each.answered):.2%})"


def svg(found: list[Outcome]) -> str:
    """Workers above, p95 below; the day on the left, its start on the right."""
    most = max(max(each.workers) for each in found) + 1
    slowest = max(value for each in found for value in each.p95_s if value is not None)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="{FONT}" role="img" aria-labelledby="title">',
        '<title id="title">Workers and p95 over a day</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#ffffff"/>',
        _text(28, 34, "A hundred cameras are switched on at nine", size=18, weight=600),
        *_legend(found),
    ]
    day = (found[0].begin_s, found[0].begin_s + len(found[0].workers) * found[0].step_s)
    start = (START_S - BEFORE_S, START_S + AFTER_S)
    for row, (title, limit) in enumerate((("workers", most), ("p95, seconds", slowest * 1.05))):
        for column, (begin, end) in enumerate((day, start)):
            x, y = LEFT + column * (PANEL_W + GAP), TOP + row * (PANEL_H + 56)
            parts += _axes(x, y, title, limit, begin, end)
            for each, color in reversed(list(zip(found, COLORS, strict=True))):
                values = each.workers if row == 0 else each.p95_s
                points = _points(each, values, begin, end)
                parts.append(_line(points, color, (x, y), (begin, end), limit))
    return "\n".join([*parts, "</svg>", ""])


def _points(
    each: Outcome, values: list[int] | list[float | None], begin: float, end: float
) -> list[tuple[float, float]]:
    """Those between two moments; of a long span the least and the largest of each pixel."""
    found: dict[int, list[tuple[float, float]]] = {}
    for index, value in enumerate(values):
        when = each.begin_s + index * each.step_s
        if value is not None and begin <= when <= end:
            pixel = int((when - begin) / (end - begin) * PANEL_W)
            found.setdefault(pixel, []).append((when, float(value)))
    drawn = []
    for points in found.values():
        both = {min(points, key=_value), max(points, key=_value)}
        drawn += sorted(both)
    return drawn


def _value(point: tuple[float, float]) -> float:
    return point[1]


def _line(
    points: list[tuple[float, float]], color: str, at: tuple[int, int],
    span: tuple[float, float], limit: float,
) -> str:  # fmt: skip
    begin, end = span
    drawn = " ".join(
        f"{at[0] + (when - begin) / (end - begin) * PANEL_W:.1f},"
        f"{at[1] + PANEL_H * (1 - value / limit):.1f}"
        for when, value in points
    )
    return f'<polyline points="{drawn}" fill="none" stroke="{color}" stroke-width="1.6"/>'


def _axes(x: int, y: int, title: str, limit: float, begin: float, end: float) -> list[str]:
    parts = [_text(x, y - 10, title, size=13, color=FAINT)]
    step = next(each for each in (1, 2, 5, 10, 20) if limit / each <= 6)
    for count in range(int(limit / step) + 1):
        height = y + PANEL_H * (1 - count * step / limit)
        parts.append(
            f'<line x1="{x}" x2="{x + PANEL_W}" y1="{height:.1f}" y2="{height:.1f}" '
            f'stroke="{GRID}"/>'
        )
        parts.append(_text(x - 8, height + 4, f"{count * step}", color=FAINT, anchor="end"))
    whole = end - begin > HOUR
    tick = 4 * HOUR if whole else 60.0
    for count in range(int((end - begin) / tick) + 1):
        when = begin + count * tick
        name = f"{when / HOUR:.0f}:00" if whole else f"{(when - START_S) / 60:+.0f} min"
        across = x + (when - begin) / (end - begin) * PANEL_W
        parts.append(_text(across, y + PANEL_H + 18, name, color=FAINT, anchor="middle"))
    return parts


def _legend(found: list[Outcome]) -> list[str]:
    parts, x = [], 28.0
    for each, color in zip(found, COLORS, strict=True):
        parts.append(f'<rect x="{x:.0f}" y="51" width="14" height="4" rx="2" fill="{color}"/>')
        parts.append(_text(x + 20, 58, each.title, size=12))
        x += 56 + 6.3 * len(each.title)
    return parts


def _text(
    x: float, y: float, text: str, size: int = 12, weight: int = 400, color: str = INK,
    anchor: str = "start",
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{color}" '
        f'text-anchor="{anchor}">{text}</text>'
    )
