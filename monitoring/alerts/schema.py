"""What is known of alerts: what `GET /api/v1/alerts` answers.

Times: `*_at` are seconds since the Unix epoch (UTC).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from monitoring.messages import Message, Severity
from monitoring.notify.deliveries import Delivery

State = Literal["inactive", "pending", "firing"]
Comparison = Literal[">", ">=", "<", "<="]


class Alert(BaseModel):
    """A rule, and how things stand with it."""

    name: str
    #: Name of a figure in monitoring/alerts/figures.py, such as `qps`; empty for a rule that
    #: only Prometheus has.
    metric: str
    #: `ratio` (0..1), `s`, `1/s`, or empty for a plain number.
    unit: str
    #: 0 for a figure of this moment.
    window_s: float
    comparison: Comparison | None
    threshold: float | None
    for_s: float
    severity: Severity
    #: False for a rule that is switched off in the file of rules.
    enabled: bool = True
    #: What is wrong, with the value filled in; what the rule watches while it is inactive.
    message: Message
    #: What to do about it; empty where the rule does not say.
    action: Message = Message(en="", zh="")
    #: The card of the Monitor page that turns red, where there is one.
    card: str | None
    state: State
    #: The figure now; None when it was not measured. Prometheus tells it only of alerts that
    #: are pending or firing.
    value: float | None
    #: Since when the state is what it is.
    since_at: float | None
    silenced_until_at: float | None
    #: A trace that shows what is wrong, where there is one.
    example_trace_id: str | None


class Episode(BaseModel):
    """One time that an alert fired."""

    id: str
    name: str
    severity: Severity
    message: Message
    pending_at: float
    fired_at: float
    #: None while it fires.
    resolved_at: float | None
    #: The figure when it fired, and the furthest from its threshold that it went.
    value: float | None
    worst: float | None
    example_trace_id: str | None
    #: Whether it was silenced when it fired, and whether it was queued for the channels: not
    #: while it is silenced, not within the cooldown of the time before, not without a channel.
    silenced: bool
    notified: bool
    #: What became of that; None when it was never to be sent, or before that was recorded.
    delivery: Delivery | None = None


class Silence(BaseModel):
    """Nothing is sent about an alert until `until_at`; it fires and is recorded all the same."""

    id: str
    #: Name of the rule; `*` is every one.
    name: str
    until_at: float
    created_at: float
    comment: str = ""


class Alerts(BaseModel):
    """Everything about alerts."""

    #: Who evaluates the rules: our watcher, or Prometheus.
    source: Literal["watcher", "prometheus"]
    #: When the rules were last evaluated; None when they never were.
    evaluated_at: float | None
    #: Why what follows may be out of date, in one sentence; empty when it is not.
    problem: str
    #: The same in Chinese.
    problem_zh: str = ""
    #: Firing first, then pending, the most severe first.
    alerts: list[Alert]
    #: Newest first.
    history: list[Episode]
    silences: list[Silence]
    #: Kinds of the channels that notifications go to, such as `mailto`; never their addresses.
    channels: list[str]
