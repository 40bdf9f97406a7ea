"""What a report says: what `GET /api/v1/report?format=json` answers.

Moments (`*_at`) are seconds since the Unix epoch (UTC). Shares are 0..1. What was not
measured is None, never 0. The texts are made from these figures by the renderings.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from monitoring.alerts.budgets import Budget
from monitoring.figures.by_model import VersionFigures
from monitoring.messages import Message, Severity
from monitoring.notify.deliveries import Delivery

Grade = Literal["A", "B", "C", "D", "E"]
#: How a figure is written, and what its change is: of `share` a difference, else a ratio.
Unit = Literal["count", "per_s", "ms", "s", "share", "number", "hours", "money"]


class Period(BaseModel):
    """A stretch of time, start included, end not."""

    start_at: float
    end_at: float
    #: Seconds of it in which a frontend reported: less when the service was off or is new.
    observed_s: float


class Figure(BaseModel):
    """One of the report's main figures, and the same of the period before."""

    name: str
    unit: Unit
    value: float | None
    before: float | None = None
    #: value / before - 1, of shares value - before; None without both, or before 0.
    change: float | None = None


class LatencySummary(BaseModel):
    """Milliseconds, from merged histograms."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Stage(LatencySummary):
    """One stage of an image's way."""

    stage: str
    #: Of the time that all images spent in all stages.
    share: float
    p95_before_ms: float | None


class Peak(BaseModel):
    """The busiest time of the period: `per_s` is its mean over `step_s` seconds in which a
    frontend reported: a whole step, longer where a step was not seen as a whole, and shorter
    where no more was seen in all."""

    at: float
    step_s: float
    per_s: float


class Day(BaseModel):
    """Requests of one day by its hours; None for hours outside the period."""

    date: str
    hours: list[int | None] = Field(min_length=24, max_length=24)


class Timeline(BaseModel):
    """The course of the period in equal steps, for the charts."""

    start_at: float
    step_s: float
    #: By outcome.
    requests: dict[str, list[int]]
    latency_p50_ms: list[float | None]
    latency_p95_ms: list[float | None]
    latency_p99_ms: list[float | None]


class Cause(BaseModel):
    """Images that failed for the same reason."""

    outcome: str
    error_type: str
    #: Of the newest of them. Untrusted text.
    message: str
    count: int
    last_at: float
    #: The newest ones, at most five.
    trace_ids: list[str]


class Image(BaseModel):
    """One image of the lists of slowest and failed ones."""

    trace_id: str
    at: float
    duration_ms: float
    outcome: str
    route: str
    error_type: str | None
    error_message: str | None
    #: The stage that took longest; None where no stage is known.
    longest_stage: str | None
    longest_ms: float | None


class Failures(BaseModel):
    """Images that did not end well. Causes are counted over the newest of them."""

    count: int
    #: How many of the newest failed images the causes are counted over.
    looked_at: int
    causes: list[Cause]
    images: list[Image]


class Label(BaseModel):
    """Detections of one label. Untrusted text."""

    label: str
    count: int
    share: float
    mean_score: float | None
    before: int | None


class Client(BaseModel):
    """Requests of one client: an address, a hash of one, or `other`."""

    client: str
    requests: int
    share: float
    before: int | None


class Workers(BaseModel):
    """What the workers did."""

    #: Workers at a time, on average over the time in which frontends reported.
    mean: float | None
    #: Workers times hours.
    hours: float | None
    #: Share of that time in which they had an image in hand, and the same in the busiest ten
    #: minutes.
    utilisation: float | None
    utilisation_peak: float | None
    #: Seconds in which workers had an image in hand, by ONNX Runtime provider.
    busy_s: dict[str, float]
    batch_size_mean: float | None
    #: Seconds of one worker that one image takes, and what one worker can do at that.
    busy_s_per_image: float | None
    per_worker_per_s: float | None
    #: Workers that the peak needs, kept below `target_utilisation`.
    needed_at_peak: int | None
    target_utilisation: float
    #: The most workers at once that ran on another provider than they were asked to.
    fallback: int | None
    queue_depth_max: float | None
    queue_oldest_age_max_s: float | None
    #: The fullest and the busiest host, in the step where it was most so.
    memory_max: float | None
    cpu_max: float | None


class Cost(BaseModel):
    """What the workers cost; None where it cannot be said, and why."""

    currency: str
    price_per_hour: float | None
    #: `cpu` or `gpu`: which price it is.
    kind: Literal["cpu", "gpu"] | None
    total: float | None
    per_1000_images: float | None
    #: `no_price`: DAMOSCOPE_CPU_WORKER_PRICE or ..GPU.. is not set; `mixed`: both kinds ran and
    #: their hours are not told apart; `no_workers`: no worker was seen; `no_inference`: none
    #: ran an image, so which kind they are is not known.
    reason: Literal["", "no_price", "mixed", "no_workers", "no_inference"]


class Fired(BaseModel):
    """An alert that fired in the period, all its times together."""

    name: str
    severity: Severity
    message: Message
    times: int
    #: Within the period.
    seconds: float
    last_at: float
    #: Whether it fires still.
    firing: bool
    example_trace_id: str | None
    #: Of the last time: what became of its notification, whether there was to be one, and whether
    #: the rule was silenced. Said as in the history of alerts.
    delivery: Delivery | None = None
    notified: bool = False
    silenced: bool = False


class FiredAlerts(BaseModel):
    """Alerts of the period."""

    #: False when the history could not be read: then nothing is known.
    known: bool
    fired: list[Fired]


class Criterion(BaseModel):
    """One part of the rating: `value` against the bounds of A, B, C and D."""

    name: str
    unit: Unit
    value: float | None
    #: "at_least" or "at_most" the bound.
    better: Literal["at_least", "at_most"]
    bounds: list[float] = Field(min_length=4, max_length=4)
    grade: Grade | None


class Rating(BaseModel):
    """The worst grade of its criteria; None below `least` requests that could have succeeded."""

    grade: Grade | None
    least: int
    criteria: list[Criterion]


class Advice(BaseModel):
    """What to do, and the figure that says so."""

    code: str
    severity: Severity
    figure: str
    unit: Unit
    value: float
    text: Message


class Report(BaseModel):
    """The report."""

    generated_at: float
    days: int
    #: The zone of `hours`, `calendar` and of the times in the renderings.
    timezone: str
    period: Period
    #: None when the stores hold nothing of it, or no longer all of it.
    before: Period | None
    #: The main figures, in the order in which they are shown.
    figures: list[Figure]
    rating: Rating
    advice: list[Advice]
    requests: dict[str, int]
    requests_before: dict[str, int] | None
    routes: dict[str, int]
    latency: LatencySummary | None
    peak: Peak | None
    #: Requests by hour of the day, over all days.
    hours: list[int] = Field(min_length=24, max_length=24)
    calendar: list[Day]
    timeline: Timeline
    stages: list[Stage]
    #: Size of the encoded images.
    image_bytes_mean: float | None
    slowest: list[Image]
    failures: Failures
    detections: list[Label]
    #: Each version of a model that had images, the one that came last first.
    models: list[VersionFigures] = Field(default_factory=list)
    #: `off` when clients are not counted.
    clients_as: Literal["address", "hashed", "off"]
    clients: list[Client]
    workers: Workers
    cost: Cost
    alerts: FiredAlerts
    #: Service level objectives, each over its own window up to now.
    objectives: list[Budget] = Field(default_factory=list)
    #: Address of a trace, with `{trace_id}` in it.
    trace_url: str

    def figure(self, name: str) -> Figure:
        """One of the main figures."""
        return next(figure for figure in self.figures if figure.name == name)
