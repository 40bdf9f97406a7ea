"""The rules as alerts.yaml has them: read, checked, and put into words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from monitoring.alerts.figures import FIGURES, RuleFigure
from monitoring.alerts.measures import Asked
from monitoring.alerts.reading import parsed
from monitoring.alerts.schema import Comparison
from monitoring.alerts.units import shown
from monitoring.messages import Message, Severity

#: The rules that ship.
SHIPPED = Path(__file__).with_name("alerts.yaml")
#: Windows are made of the stores' buckets of 5 s, in halves too.
WINDOW_STEP_S = 10
#: As far back as the embedded store keeps its buckets of 5 s.
WINDOW_MAX_S = 6 * 3600
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PLACES = {"value", "threshold", "window"}


def _seconds(value: object) -> object:
    """`90`, `90s`, `5m`, `2h` or `1d` in seconds."""
    if isinstance(value, str):
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value.strip()):
            return float(found[1]) * _UNITS_S[found[2]]
        raise ValueError("write a length of time like 30s, 5m, 2h or 1d")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=30 * 86400)]


class Text(Message):
    """A message of a rule; `{value}`, `{threshold}` and `{window}` are filled in with units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("en", "zh")
    @classmethod
    def _known_places(cls, text: str) -> str:
        for _, name, style, _ in Formatter().parse(text):
            if name is not None and (name not in _PLACES or style):
                raise ValueError(f"{{{name}}}: only {{value}}, {{threshold}}, {{window}} are known")
        return text


class Rule(BaseModel):
    """When to raise an alert: a figure beyond a threshold, for long enough."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    #: False: it is shown as switched off, and nobody evaluates it.
    enabled: bool = True
    metric: str
    #: Only what has these attributes, such as `stage: inference`.
    where: dict[str, str] = Field(default_factory=dict)
    #: None for a figure of this moment.
    window: Seconds | None = None
    #: Images that must have come in the window before the figure says anything.
    at_least: int | None = Field(None, ge=1)
    comparison: Comparison
    threshold: float = Field(allow_inf_nan=False)
    for_s: Seconds = Field(0.0, alias="for")
    severity: Severity
    message: Text
    #: What to do about it.
    action: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _known_metric(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("metric"), str):
            metric = data["metric"]
            if metric not in FIGURES:
                raise ValueError(f"metric: {metric} is unknown; there are {', '.join(FIGURES)}")
        return data

    @model_validator(mode="after")
    def _fits_the_figure(self) -> Rule:
        figure = self.figure
        if figure.windowed and self.window is None:
            raise ValueError(f"window: {self.metric} is taken over a window, such as 5m")
        if not figure.windowed and self.window is not None:
            raise ValueError(f"window: {self.metric} is a figure of the moment and takes none")
        if self.window is not None and (
            not 0 < self.window <= WINDOW_MAX_S or self.window % WINDOW_STEP_S
        ):
            raise ValueError("window: take a multiple of 10s, 6h at most")
        if self.at_least is not None and not figure.counted:
            raise ValueError(f"at_least: {self.metric} is not taken from images")
        for name, value in self.where.items():
            if name not in figure.attributes:
                known = ", ".join(figure.attributes) or "none"
                raise ValueError(f"where: {self.metric} has no {name}; it has {known}")
            values = figure.metric.attributes[name]
            if values and value not in values:
                raise ValueError(f"where: {name} is never {value}; it is {', '.join(values)}")
        return self

    @property
    def figure(self) -> RuleFigure:
        """The figure that the rule watches."""
        return FIGURES[self.metric]

    @property
    def every_s(self) -> float:
        """Seconds between two measurements; 0: at every evaluation."""
        return 0.0

    @property
    def watches(self) -> Message | None:
        """What it watches, in words, where that is not said by its figure and its threshold."""
        return None

    @property
    def asked(self) -> Asked:
        """What is asked of the figure."""
        return Asked(self.window or 0.0, self.where, self.at_least or 1)

    @property
    def recently(self) -> Asked | None:
        """What is asked as well, of the last part of the window, before the rule fires.

        Without it a burst would be beyond the threshold for as long as it stays in the window.
        That part is half of `for`, so that what lasted for less than the other half is over in
        time. None where there is no such part: no window, no `for`, or a window as short as that.
        """
        last_s = max(self.for_s / 2 // WINDOW_STEP_S * WINDOW_STEP_S, WINDOW_STEP_S)
        if not self.for_s or self.window is None or last_s >= self.window:
            return None
        return replace(self.asked, window_s=last_s, of_s=self.window)

    def over(self, recent: float | None) -> bool:
        """Whether the figure of `recently` says that it is over; one not measured never does."""
        return recent is not None and not self.holds(recent)

    def holds(self, value: float | None) -> bool:
        """Whether the figure is beyond the threshold; one that was not measured never is."""
        if value is None:
            return False
        match self.comparison:
            case ">":
                return value > self.threshold
            case ">=":
                return value >= self.threshold
            case "<":
                return value < self.threshold
            case "<=":
                return value <= self.threshold

    def further(self, one: float | None, other: float | None) -> float | None:
        """Of two values the one that is worse."""
        values = [value for value in (one, other) if value is not None]
        if not values:
            return None
        return max(values) if self.comparison in (">", ">=") else min(values)

    def text(self, template: Message | None, value: float | None) -> Message:
        """A message of this rule with its places filled in."""
        if template is None:
            return Message(en="", zh="")
        unit = self.figure.unit
        places = {
            "value": shown(value, unit),
            "threshold": shown(self.threshold, unit),
            "window": shown(self.window, "s"),
        }
        return Message(en=template.en.format_map(places), zh=template.zh.format_map(places))


class Rules(BaseModel):
    """All of alerts.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: One rule is sent once in this time at most, however often it fires.
    cooldown: Seconds = 600.0
    rules: list[Rule]

    @field_validator("rules")
    @classmethod
    def _distinct(cls, rules: list[Rule]) -> list[Rule]:
        names = [rule.name for rule in rules]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))}: two rules of one name")
        return rules

    @property
    def enabled(self) -> list[Rule]:
        """Those that are evaluated."""
        return [rule for rule in self.rules if rule.enabled]

    def find(self, name: str) -> Rule | None:
        """The rule of this name."""
        return next((rule for rule in self.rules if rule.name == name), None)


def read(path: Path | None) -> Rules:
    """Read the rules of `path`, else those that ship.

    Raises ConfigurationError naming file, rule and field.
    """
    return parsed(path or SHIPPED, Rules, "alert rules", "rules")
