"""`damoscope alerts check` and `damoscope alerts render`."""

from __future__ import annotations

from pathlib import Path

from monitoring.alerts import render as rendering
from monitoring.alerts.rules import SHIPPED, Rule, read
from monitoring.alerts.units import shown
from monitoring.stores.promql import duration
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings


def check(settings: Settings) -> None:
    """Print the rules, one a line. Raises ConfigurationError saying what is wrong with them."""
    rules = read(settings.alerts)
    for rule in rules.rules:
        print(_line(rule))
    cooldown = duration(rules.cooldown)
    where = settings.alerts or SHIPPED
    print(f"{where}: {len(rules.rules)} rules, each sent once in {cooldown} at most")


def render(settings: Settings, output: Path | None) -> None:
    """Print the rules as Prometheus rules, or write them to `output`."""
    text = rendering.render(read(settings.alerts))
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
