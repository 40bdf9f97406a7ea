"""A report put together from the stores: counts exact, percentiles from merged histograms."""

from __future__ import annotations

import logging
import math
import time
from zoneinfo import ZoneInfo

from monitoring.alerts import objectives
from monitoring.alerts.budgets import Budget, budgets
from monitoring.figures.by_model import by_model
from monitoring.reports import alerts, images
from monitoring.reports import detections as found
from monitoring.reports import traffic as requests
from monitoring.reports import workers as working
from monitoring.reports.advice import advise
from monitoring.reports.alerts import History
from monitoring.reports.headline import Headline, figures
from monitoring.reports.period import DAY_S, Covered, worker_time
from monitoring.reports.rating import rate
from monitoring.reports.schema import LatencySummary, Period, Report
from monitoring.stores.contract import MetricsStore, TraceStore
from pipeline.errors import ConfigurationError, InvalidParameter
from pipeline.settings import Settings
from telemetry import catalogue

log = logging.getLogger("damoscope.report")

DAYS_MIN, DAYS_MAX = 1, 30


def build(
    metrics: MetricsStore,
    traces: TraceStore,
    ledger: History | None,
    settings: Settings,
    days: int,
    now_s: float | None = None,
    *,
    timezone: str = "UTC",
    trace_url: str | None = None,
) -> Report:
    """The report of the `days` up to now.

    `timezone` is the zone of the hours of the day; `trace_url` an address with `{trace_id}` in
    it, by default as the settings have it. Raises Unavailable when a store cannot be read, and
    InvalidParameter for days or a zone that there are not.
    """
    if not DAYS_MIN <= days <= DAYS_MAX:
        raise InvalidParameter(f"days={days}: a report covers {DAYS_MIN} to {DAYS_MAX} days")
    zone = time_zone(timezone)
    covered = Covered.last(days, time.time() if now_s is None else now_s)
    timeline, latency = requests.timeline(metrics, covered)
    now = _headline(metrics, covered, latency)
    before = _before(metrics, settings, covered)
    stages = working.stages(metrics, covered, compare=before is not None)
    workers = working.workers(metrics, covered, now.spent, now.peak.per_s if now.peak else None)
    cost = working.cost(workers, now.succeeded, settings)
    calendar = requests.calendar(now.traffic, covered, zone)
    episodes = alerts.episodes(ledger)
    report = Report(
        generated_at=round(covered.now_s, 3),
        days=days,
        timezone=timezone,
        period=now.period,
        before=before.period if before else None,
        figures=figures(now, before, cost.price_per_hour),
        rating=rate(
            now.traffic.outcomes,
            latency,
            stages,
            alerts.critical_share(episodes, now.period, covered.now_s),
        ),
        advice=[],
        requests=now.traffic.outcomes,
        requests_before=before.traffic.outcomes if before else None,
        routes=now.traffic.routes,
        latency=latency,
        peak=now.peak,
        hours=requests.by_hour(calendar),
        calendar=calendar,
        timeline=timeline,
        stages=stages,
        image_bytes_mean=found.image_bytes(metrics, covered),
        slowest=images.slowest(traces, covered.window) if now.traffic.total else [],
        failures=images.failures(traces, covered.window, now.traffic.errors),
        detections=found.detections(metrics, covered, compare=before is not None),
        models=by_model(metrics, covered.window, covered.plot_step_s),
        clients_as=settings.clients,
        clients=found.clients(metrics, covered, compare=before is not None),
        workers=workers,
        cost=cost,
        alerts=alerts.fired(episodes, covered.window, covered.now_s),
        objectives=_objectives(metrics, settings, covered.now_s),
        trace_url=trace_url or default_trace_url(settings),
    )
    report.advice = advise(report)
    return report


def _objectives(metrics: MetricsStore, settings: Settings, now_s: float) -> list[Budget]:
    """How the objectives stand; none where their file cannot be read, which the log says."""
    try:
        found = objectives.read(settings.slo)
    except ConfigurationError as error:  # it was changed since the process started
        log.warning("a report without objectives: %s", error)
        return []
    return budgets(metrics, found, now_s).objectives


def time_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name such as `Asia/Shanghai`. Raises InvalidParameter."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise InvalidParameter(f"timezone={name!r}: not the name of a time zone") from error


def default_trace_url(settings: Settings) -> str:
    """Where a trace is seen: in our own page, which leads on to Jaeger. Where its address is not
    known, in Jaeger, whose is."""
    if settings.jaeger_ui_url and not settings.public_url:
        return settings.jaeger_ui_url.rstrip("/") + "/trace/{trace_id}"
    return (settings.public_url or settings.base_url).rstrip("/") + "/traces?trace={trace_id}"


def _headline(metrics: MetricsStore, covered: Covered, latency: LatencySummary | None) -> Headline:
    traffic = requests.traffic(metrics, covered)
    spent = worker_time(metrics, covered)
    detections = metrics.increase(catalogue.DETECTIONS, covered.window)
    window = covered.window
    return Headline(
        period=Period(
            start_at=window.start_s, end_at=window.end_s, observed_s=round(traffic.observed_s, 3)
        ),
        traffic=traffic,
        peak=requests.peak(traffic),
        latency=latency,
        spent=spent,
        detections=round(math.fsum(detections.values())),
    )


def _before(metrics: MetricsStore, settings: Settings, covered: Covered) -> Headline | None:
    """The period before; None when the stores hold nothing of it, or no longer all of it."""
    before = covered.before
    forgotten_s = covered.now_s - settings.telemetry_days * DAY_S
    if settings.prometheus_url is None and before.window.start_s < forgotten_s:
        return None
    durations = metrics.histogram(
        catalogue.REQUEST_DURATION, before.window, where={"outcome": "ok"}
    ).get(())
    earlier = _headline(metrics, before, requests.latency(durations))
    return earlier if earlier.traffic.total or earlier.period.observed_s else None
