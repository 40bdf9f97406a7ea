"""What Alertmanager posts (webhook format, version 4), and its way into the ledger."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field
from redis.lock import Lock

from monitoring.alerts import examples
from monitoring.alerts.ledger import PREFIX, Ledger
from monitoring.alerts.notices import Announcer
from monitoring.alerts.prometheus import NAME_MAX, number, severity_of, texts
from monitoring.alerts.rules import Rule, Rules
from monitoring.alerts.schema import Episode
from monitoring.messages import Message
from monitoring.stores.contract import TraceStore

#: Seconds that taking one message may last, and that another one waits for it.
LOCK_S = 30.0
#: Alertmanager repeats an alert every five minutes: one that was not heard of for three times
#: as long is not known to it any more.
FORGOTTEN_S = 900.0


class PostedAlert(BaseModel):
    """One alert as Alertmanager knows it."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    startsAt: datetime  # noqa: N815 Alertmanager's name
    endsAt: datetime | None = None  # noqa: N815
    fingerprint: str = Field(min_length=1, max_length=64)


class Posted(BaseModel):
    """One message: the alerts of a group."""

    version: Literal["4"]
    alerts: list[PostedAlert] = Field(max_length=1000)


class Intake:
    """Takes messages. The same one may come again and again, and to several frontends:
    Alertmanager repeats what it is not sure of."""

    def __init__(
        self, rules: Rules, ledger: Ledger, announcer: Announcer, traces: TraceStore
    ) -> None:
        self._rules, self._ledger = rules, ledger
        self._announcer, self._traces = announcer, traces

    def take(self, message: Posted, now_s: float | None = None) -> None:
        """Record a message and send what is to be sent of it."""
        now_s = time.time() if now_s is None else now_s
        with self._lock():
            for alert in message.alerts:
                if alert.status == "resolved":
                    self._resolved(alert, now_s)
                else:
                    self._firing(alert, now_s)

    def settle(self, over: Collection[str], now_s: float | None = None) -> None:
        """End what was not heard of for long and, of the rules `over`, fires no more: Prometheus
        and Alertmanager both forget an alert when they are stopped while it fires."""
        now_s = time.time() if now_s is None else now_s
        if not self._forgotten(over, now_s):
            return
        with self._lock():  # another frontend may be at it
            for key, episode in self._forgotten(over, now_s).items():
                self._end(key, episode, now_s, now_s)

    def _forgotten(self, over: Collection[str], now_s: float) -> dict[str, Episode]:
        heard = self._ledger.heard()
        return {
            key: episode
            for key, episode in self._ledger.open().items()
            if episode.name in over and now_s - heard.get(key, episode.fired_at) > FORGOTTEN_S
        }

    def _lock(self) -> Lock:
        lock: Lock = self._ledger.redis.lock(
            f"{PREFIX}:webhook", timeout=LOCK_S, blocking_timeout=LOCK_S
        )
        return lock

    def _firing(self, alert: PostedAlert, now_s: float) -> None:
        key, rule = alert.fingerprint, self._rules.find(alert.labels.get("alertname", ""))
        episode = self._ledger.open().get(key)
        if episode is not None and episode.fired_at < _started(alert) - 1:
            # Its end was never told; all that is known is that it was over by now.
            self._end(key, episode, _started(alert), now_s)
            episode = None
        if episode is None:
            if self._ledger.episode(_id(alert)) is not None:
                return  # a late repetition: this one is over
            episode = self._episode(alert, rule, now_s)
            self._ledger.begin(key, episode)
        self._ledger.hear(key, now_s)
        value = number(alert.annotations.get("value"))
        worst = rule.further(episode.worst, value) if rule else None
        if worst != episode.worst:
            episode = episode.model_copy(update={"worst": worst})
            self._ledger.update(episode)
        self._announcer.firing(key, episode, now_s, rule, texts(alert.annotations)[1])

    def _resolved(self, alert: PostedAlert, now_s: float) -> None:
        key, ended_s = alert.fingerprint, (alert.endsAt or alert.startsAt).timestamp()
        episode = self._ledger.open().get(key)
        if episode is not None:
            if ended_s >= episode.fired_at:  # else a late repetition about the time before
                self._end(key, episode, ended_s, now_s)
        elif self._ledger.episode(_id(alert)) is None:  # nobody was told that it fires
            rule = self._rules.find(alert.labels.get("alertname", ""))
            self._ledger.end(key, self._episode(alert, rule, now_s, ended_s))

    def _end(self, key: str, episode: Episode, ended_s: float, now_s: float) -> None:
        ended = episode.model_copy(update={"resolved_at": ended_s})
        self._announcer.resolved(ended, now_s, self._rules.find(episode.name))
        self._ledger.end(key, ended)

    def _episode(
        self, alert: PostedAlert, rule: Rule | None, now_s: float, ended_s: float | None = None
    ) -> Episode:
        name, fired_at = alert.labels.get("alertname", "")[:NAME_MAX], _started(alert)
        value = number(alert.annotations.get("value"))
        message: Message = texts(alert.annotations)[0]
        if rule is not None and value is not None:
            message = rule.text(rule.message, value)
        return Episode(
            id=_id(alert),
            name=name,
            severity=severity_of(alert.labels.get("severity")),
            message=message,
            # Alertmanager does not say; it cannot have been later.
            pending_at=fired_at - (rule.for_s if rule else 0.0),
            fired_at=fired_at,
            resolved_at=ended_s,
            value=value,
            worst=value,
            example_trace_id=examples.find(rule, self._traces, fired_at) if rule else None,
            silenced=self._ledger.silenced_until(name, now_s) is not None,
            notified=False,
        )


def _started(alert: PostedAlert) -> float:
    return alert.startsAt.timestamp()


def _id(alert: PostedAlert) -> str:
    return f"{alert.fingerprint}-{_started(alert):.0f}"
