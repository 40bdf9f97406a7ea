"""Figures as people read them. Both languages write numbers alike; words differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from monitoring.messages import Language
from monitoring.reports.schema import Figure, Unit

LANGUAGES: tuple[Language, ...] = ("en", "zh")
#: What stands where nothing was measured.
NONE = "–"
#: A change smaller than this is none worth showing.
LEAST_CHANGE = 0.0005


def value(number: float | None, unit: Unit, currency: str = "") -> str:
    """A figure with its unit."""
    return NONE if number is None else _WRITERS[unit](number) + _suffix(unit, currency)


def count(number: float) -> str:
    """`12,345`."""
    return f"{number:,.0f}"


def decimal(number: float) -> str:
    """Three digits or all before the point: `0.0123`, `4.56`, `123`, `12,345`."""
    if number == 0:
        return "0"
    size = abs(number)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def share(number: float) -> str:
    """`99.95 %`. Less than all is never rounded up to all, nor something down to nothing."""
    percent = 100 * number
    if 0 < percent < 0.01:
        return "<0.01 %"
    digits = 2 if percent >= 99 or percent < 1 else 1
    if percent < 100:
        percent = min(percent, math.floor(percent * 10**digits + 1e-6) / 10**digits)
    return f"{percent:.{digits}f}".rstrip("0").rstrip(".") + " %"


def milliseconds(number: float) -> str:
    """`0.42 ms`, `8.3 ms`, `74 ms`, `1.25 s`."""
    if number >= 1000:
        return f"{number / 1000:,.2f}".removesuffix(".00") + " s"
    digits = 2 if 0 < number < 1 else 1 if 0 < number < 10 else 0
    return f"{number:.{digits}f} ms"


def size(number: float) -> str:
    """Bytes: `183 kB`, `2.4 MB`."""
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{decimal(number / factor)} {unit}"
    return f"{number:.0f} B"


def duration(seconds: float, language: Language) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 d`."""
    days, hours, minutes = ("天", "小时", "分钟") if language == "zh" else ("d", "h", "min")
    if seconds < 60:
        return f"{decimal(round(seconds, 1))} {'秒' if language == 'zh' else 's'}"
    for unit, length in ((days, 86400), (hours, 3600), (minutes, 60)):
        if seconds >= length * (2 if unit == days else 1):
            return f"{decimal(round(seconds / length, 1))} {unit}"
    raise AssertionError("a minute is a minute")


def moment(at: float, zone: ZoneInfo, *, seconds: bool = False) -> str:
    """`2026-11-23 04:30`, as the zone's clocks show it."""
    return (
        f"{datetime.fromtimestamp(at, zone):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"
    )


def change(figure: Figure, language: Language) -> str:
    """`+12 %`, of shares `+0.4 pp`; empty where there is nothing to compare with."""
    if figure.change is None:
        return ""
    if abs(figure.change) < LEAST_CHANGE:
        return "±0"
    sign = "+" if figure.change > 0 else "−"
    amount = abs(figure.change) * 100
    digits = 1 if amount < 10 else 0
    text = f"{sign}{amount:,.{digits}f}"
    if figure.unit == "share":
        return f"{text} {'个百分点' if language == 'zh' else 'pp'}"
    return f"{text} %"


def _suffix(unit: Unit, currency: str) -> str:
    return {"per_s": "/s", "s": " s", "hours": " h", "money": f" {currency}"}.get(unit, "")


_WRITERS: dict[Unit, Callable[[float], str]] = {
    "count": count,
    "per_s": decimal,
    "ms": milliseconds,
    "s": decimal,
    "share": share,
    "number": decimal,
    "hours": decimal,
    "money": decimal,
}
