"""Numbers over rounds: medians and ranges, as they are written in tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

#: What stands where nothing was measured.
NONE = "–"


def median(values: Sequence[float]) -> float | None:
    """None of no values."""
    return statistics.median(values) if values else None


def number(value: float | None, digits: int = 1) -> str:
    """One value with so many decimals; NONE when there is none."""
    return NONE if value is None else f"{value:,.{digits}f}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median and, in brackets, the range; the value alone when there is one."""
    if not values:
        return NONE
    middle = number(median(values), digits)
    if len(values) == 1:
        return middle
    return f"{middle} [{number(min(values), digits)}–{number(max(values), digits)}]"


def ratio(value: float, before: float, after: float) -> float:
    """A value by the mean of the reference's runs before and after it."""
    return 2 * value / (before + after)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first column is text, the others are numbers."""
    align = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (head, align, *rows)]
