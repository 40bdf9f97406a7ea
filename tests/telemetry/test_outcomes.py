"""telemetry.outcomes: the one definition of success."""

from __future__ import annotations

import pytest

from pipeline import errors
from telemetry.outcomes import COUNTED, ERRORS, FAILURES, OUTCOMES, share, success_rate


@pytest.mark.parametrize(
    ("counts", "rate"),
    [({}, None), ({"ok": 3}, 1.0), ({"ok": 6, "rejected": 1, "failed": 2, "timeout": 3}, 0.5),
     ({"ok": 1, "failed": 1, "invalid": 90, "cancelled": 90}, 0.5), ({"invalid": 9}, None),
     ({"rejected": 4}, 0.0)],
)  # fmt: skip
def test_success_rate(counts: dict[str, int], rate: float | None) -> None:
    """`invalid` and `cancelled` requests change nothing; without any other there is no rate."""
    assert success_rate(counts) == rate


def test_failures_are_the_rest() -> None:
    """What is no success was our fault."""
    counts = dict(zip(OUTCOMES, (7, 11, 13, 17, 19, 23), strict=True))
    assert share(counts, FAILURES) == pytest.approx(1 - (success_rate(counts) or 0))


def test_every_error_ends_in_a_known_outcome() -> None:
    """An error that a request can end in is `invalid`, one of ours, or what the sender wanted."""
    assert set(OUTCOMES) == {"ok", "cancelled", *ERRORS}
    assert set(COUNTED) == {"ok", *FAILURES}
    for kind in [errors.DamoscopeError, *errors.DamoscopeError.__subclasses__()]:
        assert kind.outcome in (*ERRORS, "cancelled"), kind
