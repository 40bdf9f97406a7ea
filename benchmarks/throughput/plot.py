"""The plot of docs/performance.md: images a second of each server, by the bare loops' rate."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from benchmarks.throughput.figures import median

WIDTH, LEFT, RIGHT, TOP = 880, 264, 70, 92
ROW, BAR = 50, 15
OURS, PEER = "#0f766e", "#94a3b8"
INK, FAINT, GRID = "#0f172a", "#64748b", "#e2e8f0"
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif"


@dataclass(frozen=True)
class Bar:
    """One server: median and range of its ratios at few and at many clients."""

    title: str
    ours: bool
    #: By number of clients: ratios of the rounds.
    ratios: dict[str, list[float]]

    @property
    def most(self) -> float:
        return max((value for values in self.ratios.values() for value in values), default=0.0)


def bars(servers: dict[str, Any]) -> list[Bar]:
    """Ours first, then the peers by their rate at 8 clients, those that ran."""
    found = [
        Bar(
            row["title"],
            name.startswith("damoscope"),
            {clients: cell["ratio_stock"] for clients, cell in row["clients"].items()},
        )
        for name, row in servers["rows"].items()
        if all(cell["ratio_stock"] for cell in row["clients"].values())
    ]
    return sorted(found, key=lambda bar: (not bar.ours, -(median(bar.ratios["8"]) or 0.0)))


def svg(servers: dict[str, Any]) -> str:
    """A drawing of its own, without scripts or fonts from elsewhere; works on any background."""
    rows = bars(servers)
    height = TOP + ROW * len(rows) + 46
    most = max([1.05, *(bar.most for bar in rows)]) * 1.04

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / most

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="{FONT}" role="img" aria-labelledby="title">',
        '<title id="title">Images a second, by the rate of bare loops</title>',
        f'<rect width="{WIDTH}" height="{height}" rx="12" fill="#ffffff"/>',
        _text(28, 36, "Images a second, by the rate of bare loops", size=18, weight=600),
        _text(28, 59, "stock DAMO-YOLO-Ns unless “as shipped”; median and range over rounds",
              size=13, color=FAINT),
        *_legend(),
    ]  # fmt: skip
    step = 0.25 if most < 1.6 else 0.5
    for tick in range(int(most / step) + 1):
        value = tick * step
        bottom = height - 36
        dash = "" if value != 1 else ' stroke-dasharray="4 3"'
        color = GRID if value != 1 else INK
        parts.append(
            f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP - 10}" y2="{bottom}" '
            f'stroke="{color}"{dash}/>'
        )
        parts.append(_text(x(value), bottom + 18, f"{value:g}", color=FAINT, anchor="middle"))
    for index, bar in enumerate(rows):
        parts += _row(bar, TOP + ROW * index, x)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    right = WIDTH - RIGHT
    return [
        f'<rect x="{right - 176}" y="50" width="11" height="11" rx="2" fill="{FAINT}"/>',
        _text(right - 159, 60, "8 clients", color=FAINT),
        f'<rect x="{right - 86}" y="50" width="11" height="11" rx="2" fill="{FAINT}" '
        'opacity="0.45"/>',
        _text(right - 69, 60, "32 clients", color=FAINT),
    ]


def _row(bar: Bar, top: float, x: Any) -> list[str]:
    weight = 600 if bar.ours else 400
    parts = [_text(LEFT - 14, top + ROW / 2, bar.title, anchor="end", weight=weight)]
    color = OURS if bar.ours else PEER
    for index, values in enumerate(bar.ratios.values()):
        middle = median(values) or 0.0
        y = top + 5 + index * (BAR + 3)
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{x(middle) - LEFT:.1f}" height="{BAR}" rx="3" '
            f'fill="{color}" opacity="{1 if index == 0 else 0.5}"/>'
        )
        if len(values) > 1:
            low, high, at = x(min(values)), x(max(values)), y + BAR / 2
            parts.append(
                f'<path d="M{low:.1f} {at - 4}v8M{low:.1f} {at}H{high:.1f}M{high:.1f} {at - 4}v8" '
                f'stroke="{INK}" stroke-width="1.2" fill="none"/>'
            )
        parts.append(
            _text(x(max(values)) + 7, y + BAR - 3, f"{middle:.2f}", size=12, weight=weight)
        )
    return parts


def _text(
    x: float, y: float, text: str, *, size: int = 13, color: str = INK, weight: int = 400,
    anchor: str = "start",
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
        f'font-weight="{weight}" text-anchor="{anchor}">{escape(text)}</text>'
    )
