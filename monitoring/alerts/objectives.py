"""Service level objectives as slo.yaml has them: read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from monitoring.alerts.reading import parsed
from monitoring.alerts.rules import Seconds
from monitoring.messages import Message
from telemetry import catalogue

#: Those that ship.
SHIPPED = Path(__file__).with_name("slo.yaml")
#: As many as a page shows, and Prometheus evaluates, at ease.
OBJECTIVES_MAX = 12
DAY_S = 86400.0
#: Lengths for which the burn rates of monitoring/alerts/burn.py are made.
WINDOWS_S = (28 * DAY_S, 30 * DAY_S)
#: What the share of one sort of request can be told of exactly.
BOUNDS_S = catalogue.DURATION_BUCKETS_S
TARGET_MIN, TARGET_MAX = 0.5, 0.9999


class Described(Message):
    """What an objective is about, for a person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str = Field(min_length=1, max_length=200)
    zh: str = Field(min_length=1, max_length=200)


class Objective(BaseModel):
    """Of which requests what share is to be good, over what time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Its alerts' names begin with it.
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,47}$")
    #: What is counted: `availability` or `latency`, see monitoring/alerts/burn.py.
    sli: Literal["availability", "latency"]
    description: Described
    #: Share of the requests that is to be good.
    target: float = Field(ge=TARGET_MIN, le=TARGET_MAX, allow_inf_nan=False)
    window: Seconds = 28 * DAY_S
    #: Of `latency`: what is answered within this is good.
    threshold: Seconds | None = None
    #: Requests that an alert's longer window must hold before it says anything.
    at_least: int = Field(20, ge=1, le=1_000_000)
    #: Bad ones in that window below which there are none.
    at_least_bad: int = Field(5, ge=1, le=1_000_000)

    @field_validator("window")
    @classmethod
    def _known_window(cls, window: float) -> float:
        if window not in WINDOWS_S:
            raise ValueError("take 28d (always the same weekdays) or 30d")
        return window

    @model_validator(mode="after")
    def _has_its_threshold(self) -> Objective:
        if self.sli == "availability":
            if self.threshold is not None:
                raise ValueError("threshold: availability has none, only latency has")
            return self
        if self.threshold is None:
            raise ValueError("threshold: say within what time an answer is good, such as 2s")
        if self.threshold not in BOUNDS_S:
            nearest = _nearest(self.threshold)
            raise ValueError(
                f"threshold: {_written(self.threshold)} cannot be counted exactly, because it is "
                f"no bound of the histogram; take {' or '.join(map(_written, nearest))}"
            )
        return self

    @property
    def budget(self) -> float:
        """Share of the requests that may be bad."""
        return round(1 - self.target, 10)


class Objectives(BaseModel):
    """All of slo.yaml; no objective at all is one way to switch them off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objectives: list[Objective] = Field(max_length=OBJECTIVES_MAX)

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, objectives: list[Objective]) -> list[Objective]:
        names = [each.name for each in objectives]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))}: two objectives of one name")
        return objectives


def read(path: Path | None) -> list[Objective]:
    """The objectives of `path`, else those that ship.

    Raises ConfigurationError naming file, objective and field.
    """
    return parsed(path or SHIPPED, Objectives, "objectives", "objectives").objectives


def _nearest(threshold_s: float) -> list[float]:
    """The bounds next to it, below and above."""
    below = [bound for bound in BOUNDS_S if bound < threshold_s]
    above = [bound for bound in BOUNDS_S if bound > threshold_s]
    return below[-1:] + above[:1]


def _written(seconds: float) -> str:
    return f"{seconds:g}s"
