"""How an alert goes from inactive over pending to firing and back: no clock, no storage.

The same rule as Prometheus': beyond the threshold it is pending, and firing once it has been
so for as long as the rule says; anything else, a figure that was not measured too, ends it.
What is not firing yet is ended by what came last, too, if that is within the threshold. What
fires is not: so it does not come and go with a figure near its threshold, taken from few images.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from monitoring.alerts.rules import Rule
from monitoring.alerts.schema import State


class Standing(BaseModel):
    """How things stand with one rule. Times are seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    state: State = "inactive"
    #: Since when the state is what it is; None when it never was another.
    since_at: float | None = None
    #: When the figure went beyond the threshold; None while it is not.
    pending_at: float | None = None
    #: The figure when last measured; None when it could not be.
    value: float | None = None


def advance(
    rule: Rule, standing: Standing, value: float | None, now_s: float, recent: float | None = None
) -> Standing:
    """How things stand once `value` is measured at `now_s`, and `recent` over what came last."""
    if not rule.holds(value) or (standing.state != "firing" and rule.over(recent)):
        since_at = now_s if standing.state != "inactive" else standing.since_at
        return Standing(state="inactive", since_at=since_at, value=value)
    pending_at = now_s if standing.pending_at is None else standing.pending_at
    state: State = "firing"
    if standing.state != "firing" and now_s - pending_at < rule.for_s:
        state = "pending"
    since_at = standing.since_at if standing.state == state else now_s
    return Standing(state=state, since_at=since_at, pending_at=pending_at, value=value)


def after_gap(standing: Standing) -> Standing:
    """The standing when nobody looked for a while: what was pending begins anew."""
    return Standing() if standing.state == "pending" else standing
