"""The figures as a table and a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 880, 420, 70, 30, 84, 78
#: The least that is drawn: a scale by tens has no zero, which a short measurement may give.
LEAST = 0.01
#: Lines of the plot: where its values are in a row, its colour, what it is called.
LINES = (
    (("idle", "cpu_ms"), "#0f766e", "ms of Redis a second, nothing to do"),
    (("look_ms",), "#b45309", "ms of a frontend's look at the workers, once a second"),
    (("image", "cpu_ms"), "#2563eb", "ms of Redis for an image"),
    (("image", "commands"), "#be185d", "commands for an image"),
)
INK, FAINT, GRID = "#0f172a", "#64748b", "#e2e8f0"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif"

HEAD = (
    "| workers | Redis, idle: commands a second | kB/s in, out | CPU ms a second | an image: "
    "commands | kB in, out | CPU ms | a look, CPU ms | connections a worker | Redis, MB |\n"
    "|" + " ---: |" * 10
)


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    idle, image = row["idle"], row["image"]
    cells = (
        f"{row['workers']:,}", f"{idle['commands']:,.0f}",
        f"{idle['bytes_in'] / 1000:,.1f}, {idle['bytes_out'] / 1000:,.1f}",
        f"{idle['cpu_ms']:.1f}", f"{image['commands']:.0f}",
        f"{image['bytes_in'] / 1000:.1f}, {image['bytes_out'] / 1000:.1f}",
        f"{image['cpu_ms']:.2f}", f"{row['look_ms']:.1f}", f"{row['connections']:.1f}",
        f"{row['memory_mb']:.1f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def table(found: dict[str, Any]) -> str:
    """All of it, in Markdown."""
    rows = "\n".join(map(line, found["rows"]))
    return (
        f"{HEAD}\n{rows}\n\nThe image itself has {found['image_bytes'] / 1000:.1f} kB. "
        f"{found['machine']}; {found['when']}, load average {found['load']}."
    )


def plot(rows: Sequence[dict[str, Any]]) -> str:
    """What idling and an image cost by the number of workers, on scales of tens; an SVG."""
    counts = [row["workers"] for row in rows]
    lines = [[_at(row, path) for row in rows] for path, _, _ in LINES]
    low = 10 ** math.floor(math.log10(min(map(min, lines))))
    high = 10 ** math.ceil(math.log10(max(map(max, lines))))

    def x(count: float) -> float:
        span = math.log10(max(counts) / min(counts)) or 1
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(count / min(counts)) / span

    def y(value: float) -> float:
        part = math.log10(value / low) / math.log10(high / low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="{FONT}" role="img" aria-labelledby="title">',
        '<title id="title">What workers cost Redis, by their number</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#ffffff"/>',
        _text(28, 36, "What workers cost Redis, by their number", size=18, weight=600),
        _text(
            28, 59, "milliseconds (ms) of one core, and commands; both scales by tens", color=FAINT
        ),
    ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        at = y(10**power)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" '
                     f'stroke="{GRID}"/>')  # fmt: skip
        parts.append(_text(LEFT - 8, at + 4, f"{10.0**power:g}", color=FAINT, anchor="end"))
    parts += [
        _text(x(count), HEIGHT - BOTTOM + 20, f"{count:,}", color=FAINT, anchor="middle")
        for count in counts
    ]
    for number, ((_, color, name), values) in enumerate(zip(LINES, lines, strict=True)):
        points = [(x(count), y(value)) for count, value in zip(counts, values, strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{color}"/>' for a, b in points]
        left, below = LEFT + 380 * (number % 2), HEIGHT - 40 + 22 * (number // 2)
        parts.append(f'<rect x="{left}" y="{below}" width="11" height="11" rx="2" '
                     f'fill="{color}"/>')  # fmt: skip
        parts.append(_text(left + 18, below + 10, name, color=FAINT))
    return "\n".join([*parts, "</svg>", ""])


def _at(row: dict[str, Any], path: Sequence[str]) -> float:
    value: Any = row
    for name in path:
        value = value[name]
    return max(float(value), LEAST)


def _text(x: float, y: float, text: str, *, size: int = 13, weight: int = 400, color: str = INK,
          anchor: str = "start") -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{color}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
