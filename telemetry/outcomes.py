"""How a request can end, and what share of requests is a success: said here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

#: In the order in which people see them.
OUTCOMES = ("ok", "invalid", "rejected", "failed", "timeout", "cancelled")
#: Ended so by our fault. `invalid` is the sender's, and `cancelled` is what the sender wanted.
FAILURES = ("rejected", "failed", "timeout")
#: What lists of failed images hold.
ERRORS = ("invalid", *FAILURES)
#: The requests that success is a share of.
COUNTED = ("ok", *FAILURES)


def share(counts: Mapping[str, float], of: tuple[str, ...] = ("ok",)) -> float | None:
    """Share of the counted requests that ended as one `of`; None when none was counted.

    `counts` are requests by outcome; those of outcomes that are not COUNTED change nothing.
    """
    counted = sum(counts.get(outcome, 0.0) for outcome in COUNTED)
    return sum(counts.get(outcome, 0.0) for outcome in of) / counted if counted else None


def success_rate(counts: Mapping[str, float]) -> float | None:
    """`ok / (ok + rejected + failed + timeout)`."""
    return share(counts)
