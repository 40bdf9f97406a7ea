"""Curves over 0 to 1 as inline SVG, with the colours of the reports' stylesheet."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from monitoring.reports.charts import END, HEIGHT, nice

Points = Sequence[tuple[float, float | None]]
#: Classes of the stylesheet, one for each line.
LINES = ("l-p95", "s-nms", "s-preprocess")
WIDTH = 100.0
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def curves(
    name: str, across: str, lines: Sequence[tuple[str, Points]], marked: float | None = None,
    top: float = 1.0,
) -> Markup:  # fmt: skip
    """Lines of (x, y), x from 0 to 1 and y from 0 to `top`; `marked` is an x with a rule."""
    shapes, legend = [], []
    for (text, points), kind in zip(lines, LINES, strict=False):
        listed = " ".join(
            f"{WIDTH * x:.2f},{HEIGHT * (1 - min(y, top) / top):.2f}"
            for x, y in points if y is not None
        )  # fmt: skip
        shapes.append(f'<polyline class="{kind} curve" points="{listed}"/>')
        legend.append(f'<li><i class="{kind}"></i>{escape(text)}</li>')
    if marked is not None:
        at = f"{WIDTH * marked:.2f}"
        shapes.append(f'<line class="rule" x1="{at}" x2="{at}" y1="0" y2="{HEIGHT:g}"/>')
    grid = "".join(
        f'<line class="grid" x1="0" x2="{WIDTH:g}" y1="{HEIGHT * (1 - tick):g}" '
        f'y2="{HEIGHT * (1 - tick):g}"/>'
        for tick in TICKS[::2]
    )
    ys = "".join(f'<li style="bottom:{100 * tick:g}%">{top * tick:g}</li>' for tick in TICKS[::2])
    xs = "".join(
        f'<li{END if tick == 1 else ""} style="left:{100 * tick:g}%">{tick:g}</li>'
        for tick in TICKS
    )
    return Markup(
        f'<figure><figcaption>{escape(name)}</figcaption><div class="plot"><ol class="y">{ys}</ol>'
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(name)}">{grid}{"".join(shapes)}</svg><ol class="x">{xs}</ol></div>'
        f'<p class="across">{escape(across)}</p><ul class="legend">{"".join(legend)}</ul></figure>'
    )


def ending(values: Sequence[float]) -> float:
    """Where an axis for these values ends."""
    return nice(max(values, default=0.0))
