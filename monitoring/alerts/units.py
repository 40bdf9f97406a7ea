"""Figures as a person reads them: the same signs in every language."""

from __future__ import annotations

import math

#: What stands for a figure that was not measured.
NOTHING = "–"


def shown(value: float | None, unit: str) -> str:
    """A value with its unit: `ratio` as per cent, `s` in the unit that reads best."""
    if value is None or not math.isfinite(value):
        return NOTHING
    match unit:
        case "ratio":
            return f"{value * 100:.3g} %" if value < 1 else f"{value * 100:.0f} %"
        case "s":
            return _duration(value)
        case "1/s":
            return f"{_number(value)}/s"
        case _:
            return _number(value)


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    if abs(seconds) < 1:
        return f"{_number(seconds * 1000)} ms" if seconds else "0 s"
    if abs(seconds) < 120:
        return f"{_number(seconds)} s"
    if abs(seconds) < 7200:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
