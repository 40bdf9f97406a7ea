"""Cumulative readings to what was added since the reading before.

A process reports its totals since it started. Only differences of them can be
added up over processes, and taking them here means that an export which never
arrived costs nothing: the next one carries it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Total:
    """A reading of a counter (`value`) or of a histogram (`value` is its sum, and `counts`)."""

    time_ns: int
    value: float
    counts: tuple[int, ...] = ()


def added(last: Total | None, new: Total) -> Total | None:
    """What `new` adds to `last`, both of one process and one start time; None if nothing.

    A first reading counts in full: the process began at nothing. One that is not
    newer than the last is contained in it. One that is newer and yet smaller comes
    from a process that began anew without saying so, and counts in full.
    """
    if last is None:
        return new
    if new.time_ns <= last.time_ns:
        return None
    if _is_smaller(new, last):
        return new
    counts = tuple(a - b for a, b in zip(new.counts, last.counts, strict=True))
    return Total(new.time_ns, new.value - last.value, counts)


def _is_smaller(new: Total, last: Total) -> bool:
    if last.counts:  # the sum of a histogram may fall: it can measure negative values
        return any(a < b for a, b in zip(new.counts, last.counts, strict=True))
    return new.value < last.value
