"""Objectives as alert rules: one for each pair of windows that can fire."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from monitoring.alerts import burn, objectives
from monitoring.alerts.burn import Tier
from monitoring.alerts.figures import RuleFigure
from monitoring.alerts.measures import Asked
from monitoring.alerts.objectives import Objective
from monitoring.alerts.rules import Rule, Rules, Text, read
from monitoring.messages import Message
from monitoring.stores import promql
from monitoring.stores.contract import MetricsStore
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from telemetry import catalogue

#: What the figure of such a rule is called: no file of rules can name it.
METRIC = "burn_rate"
_ACTION = Text(
    en="See on the Monitor page what is left of the budget, and in the example trace why.",
    zh="在监控页查看剩余的错误预算，并从示例链路中查明原因。",
)


class BurnRule(Rule):
    """An error budget burns too fast, over a long window and over a short one as well."""

    objective: Objective
    tier: Tier

    @classmethod
    def of(cls, objective: Objective, tier: Tier) -> BurnRule:
        """The rule of an objective's tier."""
        window, short = _length(tier.long_s), _length(tier.short_s)
        return cls(
            name=f"{objective.name}Burn{promql.duration(tier.long_s)}",
            metric=METRIC,
            window=tier.long_s,
            at_least=objective.at_least,
            comparison=">",
            threshold=tier.factor,
            severity=tier.severity,
            message=Text(
                en=f"The error budget of {objective.name} burns {{value}} times as fast as it may, "
                f"over {window} and over the last {short}; the limit is {{threshold}}.",
                zh=f"{objective.name} 的错误预算正以允许速度的 {{value}} 倍消耗"
                f"（最近 {window} 与最近 {short}），上限为 {{threshold}} 倍。",
            ),
            action=_ACTION,
            objective=objective,
            tier=tier,
        )

    @model_validator(mode="before")
    @classmethod
    def _known_metric(cls, data: Any) -> Any:
        return data  # its own figure is none of the table's

    @model_validator(mode="after")
    def _fits_the_figure(self) -> BurnRule:
        return self

    @property
    def figure(self) -> RuleFigure:
        """The slower of the two burn rates."""
        objective, tier = self.objective, self.tier
        counted = burn.counters(objective)

        def measure(metrics: MetricsStore, _: Asked, now_s: float) -> float | None:
            return burn.slower(metrics, objective, tier, now_s)

        available = objective.sli == "availability"
        return RuleFigure(
            catalogue.REQUESTS if available else catalogue.REQUEST_DURATION,
            "",
            measure,
            lambda _: burn.slower_promql(
                *(
                    burn.rate_promql(objective, seconds, *counted(seconds))
                    for seconds in (tier.short_s, tier.long_s)
                )
            ),
            card=f"slo_{objective.name}",
            example="failed" if available else "slowest",
            counted=True,
        )

    @property
    def every_s(self) -> float:
        """As often as Prometheus: hours and days of counts are read for it."""
        return burn.EVERY_S

    @property
    def recently(self) -> Asked | None:
        """The short window is part of the figure, also while the rule fires."""
        return None

    @property
    def watches(self) -> Message:
        """What it watches, in words."""
        objective, tier = self.objective, self.tier
        window, short = _length(tier.long_s), _length(tier.short_s)
        return Message(
            en=f"Fires when the burn rate of the error budget of {objective.name} is > "
            f"{tier.factor:g} over {window} and over the last {short}; at 1 the budget lasts for "
            f"just {_length(objective.window)}.",
            zh=f"当 {objective.name} 的错误预算消耗速度在最近 {window} 与最近 {short} 内均 > "
            f"{tier.factor:g} 时触发；速度为 1 时，预算恰好够用 {_length(objective.window)}。",
        )


def _length(seconds: float) -> str:
    """`5 min`, `1 h`, `28 d`: in the largest unit that divides it."""
    text = promql.duration(seconds)
    return f"{text[:-1]} {'min' if text[-1] == 'm' else text[-1]}"


def of(found: list[Objective]) -> list[BurnRule]:
    """The rules of all objectives."""
    return [BurnRule.of(each, tier) for each in found for tier in burn.tiers(each)]


def every(settings: Settings) -> Rules:
    """All rules: those of alerts.yaml, and those of the objectives.

    Raises ConfigurationError, also where a rule of the file has the name of an objective's.
    """
    rules, burning = read(settings.alerts), of(objectives.read(settings.slo))
    if taken := sorted({rule.name for rule in rules.rules} & {rule.name for rule in burning}):
        raise ConfigurationError(
            f"{', '.join(taken)}: an alert rule and an objective's alert have the same name; "
            "give one of them another"
        )
    return rules.model_copy(update={"rules": [*rules.rules, *burning]})
