"""frontend.api.time_range: which time is asked for."""

from __future__ import annotations

import pytest

from frontend.api.time_range import TimeRange
from pipeline.errors import InvalidParameter

NOW_S = 1_800_000_000.0
HOUR_AGO = NOW_S - 3600


def asked(**given: object) -> tuple[float, float | None]:
    return TimeRange.model_validate(given).asked(60, NOW_S)


def test_up_to_now() -> None:
    """Some seconds, as many as usual, or since a moment; what would end later ends now."""
    assert asked() == (60, None)
    assert asked(window=300) == (300, None)
    assert asked(**{"from": HOUR_AGO}) == (3600, None)
    assert asked(**{"from": HOUR_AGO, "to": NOW_S + 500}) == (3600, None)


def test_a_time_that_is_over() -> None:
    """Its length, and when it ended; ISO 8601 and seconds say the same."""
    assert asked(**{"from": HOUR_AGO, "to": HOUR_AGO + 60}) == (60, HOUR_AGO + 60)
    iso = {"from": "2027-01-15T07:00:00Z", "to": "2027-01-15T15:01:00+08:00"}
    assert asked(**iso) == (60, HOUR_AGO + 60)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": NOW_S}, "to: say from when"),
        ({"window": 60, "from": HOUR_AGO}, "window: give it, or from and to"),
        ({"from": HOUR_AGO, "to": HOUR_AGO}, "from must be less than to"),
        ({"from": NOW_S + 10}, "between them"),
        ({"from": HOUR_AGO, "to": HOUR_AGO + 4}, "5 s to 30 days"),
        ({"from": 0, "to": 1000 * 86400}, "5 s to 30 days"),
    ],
)
def test_what_is_refused(given: dict[str, object], said: str) -> None:
    """What contradicts itself, lies ahead, or is too short or too long, each with what to do."""
    with pytest.raises(InvalidParameter, match=said):
        asked(**given)
