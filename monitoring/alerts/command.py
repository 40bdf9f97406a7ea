"""`damoscope alerts check` and `render`, `damoscope slo check` and `render`."""

from __future__ import annotations

from pathlib import Path

from monitoring.alerts import burn, objectives
from monitoring.alerts import render as rendering
from monitoring.alerts.burn_rules import every
from monitoring.alerts.rules import SHIPPED, Rule, read
from monitoring.alerts.units import shown
from monitoring.stores.promql import duration
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings


def check(settings: Settings) -> None:
    """Print the rules, one a line. Raises ConfigurationError saying what is wrong with them."""
    rules = read(settings.alerts)
    every(settings)
    for rule in rules.rules:
        print(_line(rule))
    cooldown = duration(rules.cooldown)
    where = settings.alerts or SHIPPED
    print(f"{where}: {len(rules.rules)} rules, each sent once in {cooldown} at most")


def render(settings: Settings, output: Path | None) -> None:
    """Print the rules as Prometheus rules, or write them to `output`."""
    _write(rendering.render(read(settings.alerts)), output)


def check_objectives(settings: Settings) -> None:
    """Print the objectives, and when each raises an alert. Raises ConfigurationError saying what
    is wrong with them, or with their alerts beside the alert rules."""
    every(settings)
    found = objectives.read(settings.slo)
    for each in found:
        within = f" within {duration(each.threshold)}" if each.threshold else ""
        print(f"{each.name}: {100 * each.target:.6g} %{within} over {duration(each.window)}")
        for tier in burn.tiers(each):
            over = f"{duration(tier.long_s)} and {duration(tier.short_s)}"
            print(f"  {tier.severity:<8} burn rate > {tier.factor:g} over {over}")
    count = f"{len(found)} {'objective' if len(found) == 1 else 'objectives'}"
    print(f"{settings.slo or objectives.SHIPPED}: {count}")


def render_objectives(settings: Settings, output: Path | None) -> None:
    """Print the objectives' alerts as Prometheus rules, or write them to `output`."""
    _write(rendering.render_objectives(objectives.read(settings.slo)), output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{output}: cannot be written: {error}") from error


def _line(rule: Rule) -> str:
    where = "".join(f" {name}={value}" for name, value in rule.where.items())
    over = f" over {duration(rule.window)}" if rule.window else ""
    for_s = f" for {duration(rule.for_s)}" if rule.for_s else ""
    threshold = shown(rule.threshold, rule.figure.unit)
    off = "" if rule.enabled else "  (enabled: false)"
    return (
        f"{rule.severity:<8} {rule.name}: {rule.metric}{where}{over} "
        f"{rule.comparison} {threshold}{for_s}{off}"
    )
