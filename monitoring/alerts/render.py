"""alerts.yaml, and the figures that dashboards show, as Prometheus rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from monitoring.alerts import burn, burn_rules
from monitoring.alerts.burn_rules import BurnRule
from monitoring.alerts.figures import FIGURES
from monitoring.alerts.measures import Asked
from monitoring.alerts.objectives import Objective
from monitoring.alerts.rules import Rule, Rules
from monitoring.alerts.schema import Comparison
from monitoring.alerts.units import shown
from monitoring.messages import Message
from monitoring.stores import promql

HEADER = """\
# Made from alerts.yaml: change it there, then `make generate`, or `damoscope alerts render` for
# rules of your own. `value` is the bare number: the frontend puts it into words itself.

"""
FIGURES_HEADER = """\
# Made by `make generate`: figures that the pages, the alerts and the reports show, too, as
# monitoring/alerts/figures.py defines them once for all.

"""
OBJECTIVES_HEADER = """\
# Made from slo.yaml: change it there, then `make generate`, or `damoscope slo render` for
# objectives of your own. Of each objective and window it is recorded how many requests there
# were and how many of them were bad; docs/slo.md says what that is, and when an alert fires.

"""
#: What Grafana shows: name of the record -> figure, over how many seconds.
RECORDS = {
    "service:damoscope_requests:success_rate5m": ("success_rate", 300.0),
    "service:damoscope_workers:utilisation1m": ("utilisation", 60.0),
}
#: What holds where a comparison does not, of numbers that were measured.
_OTHERWISE: dict[Comparison, Comparison] = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
#: How Prometheus puts a value of each unit into words.
_IN_WORDS = {
    "ratio": "{{ $value | humanizePercentage }}",
    "s": "{{ $value | humanizeDuration }}",
    "1/s": "{{ $value | humanize }}/s",
    "": "{{ $value | humanize }}",
}


class _Expression(str):
    """PromQL: written as a block, so that its quotes stay as they are."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # lists stand further in than their key


def _block(dumper: yaml.SafeDumper, text: _Expression) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


_Dumper.add_representer(_Expression, _block)


def render(rules: Rules) -> str:
    """The text of a rule file that Prometheus reads."""
    return HEADER + _group("damoscope-alerts", [_rule(rule) for rule in rules.enabled])


def render_figures() -> str:
    """The text of a rule file that records RECORDS."""
    found = [
        {"record": name, "expr": _Expression(FIGURES[figure].promql(Asked(window_s)))}
        for name, (figure, window_s) in RECORDS.items()
    ]
    return FIGURES_HEADER + _group("damoscope-figures", found)


def render_objectives(objectives: list[Objective]) -> str:
    """The text of a rule file: what objectives count, and the alerts about their budgets."""
    found = [
        {"record": name, "expr": _Expression(text), "labels": {"objective": each.name}}
        for each in objectives
        for window_s in burn.WINDOWS_S
        for name, text in _recorded(each, window_s)
    ]
    alerts = [_burning(rule) for rule in burn_rules.of(objectives)]
    every = promql.duration(burn.EVERY_S)
    return OBJECTIVES_HEADER + _group("damoscope-slo", [*found, *alerts], every)


def _recorded(objective: Objective, window_s: float) -> Iterator[tuple[str, str]]:
    """What is recorded of an objective over a window: requests, bad ones, the burn rate."""
    names = [_record(what, window_s) for what in ("requests:increase", "bad:increase")]
    yield from zip(names, burn.counters(objective)(window_s), strict=True)
    total, bad = (_of(objective, name) for name in names)
    yield _record("burn_rate:", window_s), burn.rate_promql(objective, window_s, total, bad)


def _record(what: str, window_s: float) -> str:
    return f"objective:damoscope_slo_{what}{promql.duration(window_s)}"


def _of(objective: Objective, record: str) -> str:
    return f'{record}{{objective="{objective.name}"}}'


def _burning(rule: BurnRule) -> dict[str, Any]:
    rates = [
        _of(rule.objective, _record("burn_rate:", window_s))
        for window_s in (rule.tier.short_s, rule.tier.long_s)
    ]
    text = f"({burn.slower_promql(*rates)}) > {rule.threshold!r}"
    return {**_rule(rule), "expr": _Expression(text)}


def _group(name: str, rules: list[dict[str, Any]], every: str | None = None) -> str:
    how = {"name": name, **({"interval": every} if every else {}), "rules": rules}
    text: str = yaml.dump(
        {"groups": [how]},
        Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96,
    )  # fmt: skip
    return text


def expression(rule: Rule) -> str:
    """PromQL that has a result while the rule's figure is beyond its threshold.

    It has none either while what came last is within it, unless the alert fires already.
    """
    beyond = f"({rule.figure.promql(rule.asked)}) {rule.comparison} {rule.threshold!r}"
    if rule.recently is None:
        return beyond
    over = f"({rule.figure.promql(rule.recently)}) {_OTHERWISE[rule.comparison]} {rule.threshold!r}"
    fires = f'ALERTS{{alertname="{rule.name}",alertstate="firing"}}'
    return f"{beyond}\nunless ({over}\nunless on () {fires})"


def _rule(rule: Rule) -> dict[str, Any]:
    annotations = {
        "summary": _filled(rule, rule.message, "en"),
        "summary_zh": _filled(rule, rule.message, "zh"),
    }
    if rule.action is not None:
        annotations["action"] = _filled(rule, rule.action, "en")
        annotations["action_zh"] = _filled(rule, rule.action, "zh")
    annotations["value"] = "{{ $value }}"
    return {
        "alert": rule.name,
        "expr": _Expression(expression(rule)),
        "for": promql.duration(rule.for_s),
        "labels": {"severity": rule.severity},
        "annotations": annotations,
    }


def _filled(rule: Rule, template: Message, language: str) -> str:
    text: str = getattr(template, language)
    unit = rule.figure.unit
    return text.format_map(
        {
            "value": _IN_WORDS[unit],
            "threshold": shown(rule.threshold, unit),
            "window": shown(rule.window, "s"),
        }
    )
