"""The course of a training as one SVG: the loss, and what validation said."""

import json
from collections.abc import Sequence
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 180, 52, 28, 56
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#475569}"
    "path{fill:none;stroke:#4f46e5;stroke-width:1.6}.grid{stroke:#e2e8f0}"
    "rect{fill:#fff}.title{font-weight:600;fill:#0f172a}"
)


def read_log(path: Path) -> list[dict[str, float]]:
    """The entries of a log, the last of each step: an interrupted training did some twice."""
    entries: dict[tuple[int, bool], dict[str, float]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
            entries[entry["step"], "loss" in entry] = entry
        except (ValueError, KeyError):  # cut off where it was killed
            continue
    return [entries[key] for key in sorted(entries)]


def course(entries: Sequence[dict[str, float]], steps: int) -> str:
    """An SVG of the loss and of AP50 on what is validated on, over so many steps."""
    panels = [
        ("Loss", [(one["step"], one["loss"]) for one in entries if "loss" in one]),
        (
            "AP50 on what is validated on",
            [(one["step"], one["photographs"]) for one in entries if "photographs" in one],
        ),
    ]
    parts, total = [], TOP + len(panels) * (HEIGHT + GAP)
    for number, (title, points) in enumerate(panels):
        parts.append(_panel(title, points, steps, TOP + number * (HEIGHT + GAP)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {total}">'
        f"<style>{STYLE}</style>"
        f'<rect width="{LEFT + WIDTH + 20}" height="{total}"/>{"".join(parts)}</svg>\n'
    )


def _panel(title: str, points: Sequence[tuple[float, float]], steps: int, top: int) -> str:
    highest = max((value for _, value in points), default=0.0) or 1.0
    drawn = []
    for share in (0.0, 0.5, 1.0):
        y = top + HEIGHT * (1 - share)
        drawn.append(
            f'<line class="grid" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{highest * share:.3g}</text>'
        )
    line = " ".join(
        f"{'L' if number else 'M'}{LEFT + WIDTH * step / max(steps, 1):.1f} "
        f"{top + HEIGHT * (1 - value / highest):.1f}"
        for number, (step, value) in enumerate(points)
    )
    if line:
        drawn.append(f'<path d="{line}"/>')
    return (
        f'<text class="title" x="{LEFT}" y="{top - 10}">{title}</text>{"".join(drawn)}'
        f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 18}" text-anchor="end">{steps:,} steps</text>'
    )
