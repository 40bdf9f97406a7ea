"""Everything about alerts at this moment: what `GET /api/v1/alerts` answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitoring.alerts.evaluator import GAP_S
from monitoring.alerts.ledger import Ledger, silenced_until
from monitoring.alerts.prometheus import Found, read_rules
from monitoring.alerts.rules import Rule, Rules
from monitoring.alerts.schema import Alert, Alerts, Episode
from monitoring.alerts.states import Standing
from monitoring.alerts.units import shown
from monitoring.alerts.watching import watches
from monitoring.messages import Message
from pipeline.errors import Unavailable

_STATES = ("firing", "pending", "inactive")
_SEVERITIES = ("critical", "warning", "info")


def overview(
    rules: Rules,
    ledger: Ledger,
    prometheus_url: str | None,
    channels: Sequence[str],
    limit: int = 50,
    now_s: float | None = None,
) -> Alerts:
    """How every rule stands, the last `limit` episodes, and silences.

    Who knows the states is Prometheus where it is named, else the watcher. Raises redis'
    errors when Redis is away.
    """
    now_s = time.time() if now_s is None else now_s
    going_on = {episode.name: episode for episode in ledger.open().values()}
    view = (
        _of_watcher(ledger, now_s)
        if prometheus_url is None
        else _of_prometheus(prometheus_url, going_on)
    )
    alerts = [
        _alert(rule, _of(rule, view.standings), going_on.get(rule.name)) for rule in rules.rules
    ]
    alerts += [
        _foreign(each, view.standings[each.name], going_on.get(each.name))
        for each in view.found
        if rules.find(each.name) is None
    ]
    silences = ledger.silences(now_s)
    silenced = [
        alert.model_copy(update={"silenced_until_at": silenced_until(silences, alert.name)})
        for alert in alerts
    ]
    return Alerts(
        source="watcher" if prometheus_url is None else "prometheus",
        evaluated_at=view.evaluated_at,
        problem=view.problem.en,
        problem_zh=view.problem.zh,
        alerts=sorted(
            silenced,
            key=lambda alert: (_STATES.index(alert.state), _SEVERITIES.index(alert.severity)),
        ),
        history=ledger.history(limit),
        silences=silences,
        channels=list(channels),
    )


def _of(rule: Rule, standings: Mapping[str, Standing]) -> Standing:
    """A rule that is switched off stands nowhere, whatever it did before."""
    return standings.get(rule.name, Standing()) if rule.enabled else Standing()


@dataclass(frozen=True, slots=True)
class _View:
    """What whoever evaluates the rules says of them; `found` are Prometheus' own words."""

    evaluated_at: float | None
    problem: Message
    standings: Mapping[str, Standing]
    found: Sequence[Found] = ()


def _of_watcher(ledger: Ledger, now_s: float) -> _View:
    evaluated_at, why = ledger.evaluated()
    problem = _watchers_problem(evaluated_at, why, now_s)
    return _View(evaluated_at, problem, ledger.standings())


def _of_prometheus(url: str, going_on: Mapping[str, Episode]) -> _View:
    problem = Message(en="", zh="")
    try:
        evaluated_at, found = read_rules(url)
    except Unavailable as error:
        evaluated_at, found = None, [_last_heard(episode) for episode in going_on.values()]
        problem = Message(
            en=f"{error}. What is shown is what was last heard of it.",
            zh=f"无法读取 Prometheus，以下为最后一次得知的状态（{error}）。",
        )
    standings = {each.name: _standing(each, going_on.get(each.name)) for each in found}
    return _View(evaluated_at, problem, standings, found)


def _watchers_problem(evaluated_at: float | None, why: str, now_s: float) -> Message:
    if why:
        return Message(en=f"The rules cannot be evaluated: {why}", zh=f"无法评估告警规则：{why}")
    if evaluated_at is None:
        return Message(
            en="The rules were never evaluated: no watcher runs yet.",
            zh="告警规则从未被评估：监视进程尚未运行。",
        )
    if now_s - evaluated_at > GAP_S:
        ago = shown(round(now_s - evaluated_at), "s")
        return Message(
            en=f"The rules were last evaluated {ago} ago: no watcher runs.",
            zh=f"告警规则上次评估是在 {ago} 前：监视进程没有运行。",
        )
    return Message(en="", zh="")


def _standing(found: Found, episode: Episode | None) -> Standing:
    since_at = found.active_at
    if found.state == "firing" and found.active_at is not None:
        since_at = episode.fired_at if episode else found.active_at + found.for_s
    return Standing(
        state=found.state, since_at=since_at, pending_at=found.active_at, value=found.value
    )


def _last_heard(episode: Episode) -> Found:
    """A rule as its episode has it, while Prometheus cannot be asked."""
    return Found(
        name=episode.name,
        severity=episode.severity,
        state="firing",
        for_s=episode.fired_at - episode.pending_at,
        active_at=episode.pending_at,
        value=episode.value,
        message=episode.message,
        action=Message(en="", zh=""),
    )


def _alert(rule: Rule, standing: Standing, episode: Episode | None) -> Alert:
    return Alert(
        name=rule.name,
        metric=rule.metric,
        unit=rule.figure.unit,
        window_s=rule.window or 0.0,
        comparison=rule.comparison,
        threshold=rule.threshold,
        for_s=rule.for_s,
        severity=rule.severity,
        enabled=rule.enabled,
        message=watches(rule)
        if standing.state == "inactive"
        else rule.text(rule.message, standing.value),
        action=rule.text(rule.action, standing.value),
        card=rule.figure.card,
        state=standing.state,
        value=standing.value,
        since_at=standing.since_at,
        silenced_until_at=None,
        example_trace_id=episode.example_trace_id if episode else None,
    )


def _foreign(found: Found, standing: Standing, episode: Episode | None) -> Alert:
    """A rule that only Prometheus has: about the stack's own servers."""
    return Alert(
        name=found.name,
        metric="",
        unit="",
        window_s=0.0,
        comparison=None,
        threshold=None,
        for_s=found.for_s,
        severity=found.severity,
        message=found.message,
        action=found.action,
        card=None,
        state=standing.state,
        value=standing.value,
        since_at=standing.since_at,
        silenced_until_at=None,
        example_trace_id=episode.example_trace_id if episode else None,
    )
