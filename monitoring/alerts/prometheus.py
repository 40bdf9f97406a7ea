"""What Prometheus says about its alerting rules."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from monitoring.alerts.schema import State
from monitoring.messages import Message, Severity
from pipeline.errors import Unavailable

TIMEOUT_S = 5.0
#: Characters of one annotation, and of a name, that are kept.
TEXT_MAX = 4096
NAME_MAX = 255
_RANK: dict[State, int] = {"inactive": 0, "pending": 1, "firing": 2}


@dataclass(frozen=True, slots=True)
class Found:
    """One rule of Prometheus, and the worst of its alerts."""

    name: str
    severity: Severity
    state: State
    for_s: float
    #: Since when the rule's expression has had a result; None while it has none.
    active_at: float | None
    value: float | None
    message: Message
    action: Message


def read_rules(url: str) -> tuple[float | None, list[Found]]:
    """When the rules were last evaluated, and how each stands.

    Raises Unavailable, in words that hold no password.
    """
    host = httpx.URL(url).host
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
            answer = client.get("/api/v1/rules", params={"type": "alert"}).json()
        groups = answer["data"]["groups"]
    except (httpx.HTTPError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise Unavailable(f"Prometheus on {host} cannot be read: {error}") from error
    times = [_time(group.get("lastEvaluation")) for group in groups]
    # The group that was evaluated longest ago: nothing shown is older than that.
    evaluated = min((time for time in times if time is not None), default=None)
    return evaluated, [_found(rule) for group in groups for rule in group["rules"]]


def severity_of(text: str | None) -> Severity:
    """A label's severity; `warning` where it names none of ours."""
    return text if text in ("info", "warning", "critical") else "warning"  # type: ignore[return-value]


def texts(annotations: Mapping[str, str]) -> tuple[Message, Message]:
    """Message and action of an alert; in English where there is no Chinese."""
    told = {name: text[:TEXT_MAX] for name, text in annotations.items()}
    message, action = told.get("summary", ""), told.get("action", "")
    return (
        Message(en=message, zh=told.get("summary_zh") or message),
        Message(en=action, zh=told.get("action_zh") or action),
    )


def number(text: object) -> float | None:
    """A value as Prometheus writes it; None when it is no finite number."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _found(rule: Mapping[str, Any]) -> Found:
    alerts = sorted(rule.get("alerts") or [], key=lambda each: -_RANK.get(each["state"], 0))
    worst = alerts[0] if alerts else {}
    message, action = texts(worst.get("annotations", {}))
    return Found(
        name=rule["name"],
        severity=severity_of(rule.get("labels", {}).get("severity")),
        state=rule["state"] if rule["state"] in _RANK else "inactive",
        for_s=float(rule.get("duration", 0)),
        active_at=_time(worst.get("activeAt")),
        value=number(worst["value"]) if worst else None,
        message=message,
        action=action,
    )


def _time(text: str | None) -> float | None:
    """Prometheus' timestamps; its zero time (never) is None."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
