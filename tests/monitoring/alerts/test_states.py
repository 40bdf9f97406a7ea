"""monitoring.alerts.states: from inactive over pending to firing, whatever the figure does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts.rules import Rule
from monitoring.alerts.states import Standing, advance, after_gap

THRESHOLD = 10.0


def rule(for_s: float) -> Rule:
    return Rule.model_validate(
        {"name": "Any", "metric": "queue_age_s", "comparison": ">", "threshold": THRESHOLD,
         "for": for_s, "severity": "warning", "message": {"en": "x", "zh": "x"}}
    )  # fmt: skip


#: (seconds since the one before, the figure then; None: not measured)
READINGS = st.lists(
    st.tuples(st.floats(0.5, 120), st.none() | st.floats(0, 20, allow_nan=False)), max_size=40
)


@given(READINGS, st.sampled_from([0, 1, 30, 60, 300]))
def test_fires_exactly_when_it_lasted(
    readings: list[tuple[float, float | None]], for_s: int
) -> None:
    """Firing is: beyond the threshold at every reading of the last `for`, and at its start."""
    at, standing, began = 1000.0, Standing(), None
    for pause, value in readings:
        at += pause
        before, standing = standing, advance(rule(for_s), standing, value, at)
        beyond = value is not None and value > THRESHOLD
        began = (at if began is None else began) if beyond else None
        lasted = began is not None and at - began >= for_s
        assert standing.state == ("firing" if lasted else "pending" if beyond else "inactive")
        assert standing.pending_at == began
        assert standing.value == value
        if standing.state == before.state:
            assert standing.since_at == before.since_at
        else:
            assert standing.since_at == at


@given(READINGS, st.sampled_from([0, 60]))
def test_what_is_kept_is_all_there_is(
    readings: list[tuple[float, float | None]], for_s: int
) -> None:
    """A standing written down and read again goes on as if nothing had been."""
    at, kept, written = 0.0, Standing(), Standing()
    for pause, value in readings:
        at += pause
        kept = advance(rule(for_s), kept, value, at)
        again = Standing.model_validate_json(written.model_dump_json())
        written = advance(rule(for_s), again, value, at)
    assert kept == written


@given(st.lists(st.tuples(st.floats(0, 20), st.none() | st.floats(0, 20)), min_size=1, max_size=40))
def test_what_came_last_must_be_beyond_it_too_before_it_fires(
    readings: list[tuple[float, float | None]],
) -> None:
    """Pending ends when the last part of the window is within the threshold; not when that part
    was not measured, and not once the alert fires: then only the window ends it."""
    at, standing = 1000.0, Standing()
    for value, recent in readings:
        at += 10
        before, standing = standing, advance(rule(30), standing, value, at, recent)
        beyond = value > THRESHOLD
        over = recent is not None and recent <= THRESHOLD
        if before.state == "firing":
            assert standing.state == ("firing" if beyond else "inactive")
        else:
            assert (standing.state == "inactive") == (not beyond or over)


def test_a_gap_begins_pending_anew() -> None:
    """What nobody looked at for a while has not lasted; what fires goes on."""
    pending = Standing(state="pending", since_at=1, pending_at=1, value=11)
    assert after_gap(pending) == Standing()
    firing = Standing(state="firing", since_at=5, pending_at=1, value=11)
    assert after_gap(firing) == firing
