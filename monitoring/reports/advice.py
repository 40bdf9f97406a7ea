"""What follows from a report's figures. Every advice names the figure that led to it."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.messages import Message, Severity
from monitoring.reports import format as written
from monitoring.reports.advice_text import ADVICE
from monitoring.reports.format import LANGUAGES
from monitoring.reports.rating import LEAST_REQUESTS
from monitoring.reports.schema import Advice, Report, Stage, Unit
from monitoring.reports.text import Pair, cause_text, stage_name
from telemetry.outcomes import FAILURES

#: A stage that takes a larger share of the time, at a p95 above it, is worth a word.
STAGE_SHARE, STAGE_P95_MS = 0.3, 100.0
WAIT_SHARE = 0.2
SLOW_INFERENCE_MS = 1000.0
#: An outcome worth a word, and one that is serious, as shares of all requests.
FAILED_SHARE, FAILED_SERIOUS = 0.01, 0.05
MEMORY, MEMORY_SERIOUS = 0.8, 0.9
IDLE_UTILISATION = 0.2
#: Growth of the latency's p95 against the period before.
SLOWER = 0.25
QUIET_HOURS = 24.0
NOISY_TIMES = 5

_ORDER: dict[Severity, int] = {"critical": 0, "warning": 1, "info": 2}


def advise(report: Report) -> list[Advice]:
    """The advice that the figures give, the most serious first; empty when all is well."""
    found = [advice for rule in _RULES for advice in rule(report)]
    return sorted(found, key=lambda advice: _ORDER[advice.severity])


def _advice(
    code: str, severity: Severity, figure: str, unit: Unit, value: float, **facts: str | Pair
) -> Advice:
    """Facts that read differently in the two languages are given for both."""
    english, chinese = (
        template.format(**{name: fact if isinstance(fact, str) else fact[index]
                           for name, fact in facts.items()})
        for index, template in enumerate(ADVICE[code])
    )  # fmt: skip
    text = Message(en=english, zh=chinese)
    return Advice(code=code, severity=severity, figure=figure, unit=unit, value=value, text=text)


def _fallback(report: Report) -> Iterator[Advice]:
    if count := report.workers.fallback:
        yield _advice("fallback", "critical", "workers_fallback", "count", count, count=str(count))


def _outcomes(report: Report) -> Iterator[Advice]:
    total = sum(report.requests.values())
    for outcome, count in report.requests.items():
        code = f"outcome_{outcome}"
        if code not in ADVICE or not _enough(report) or count < FAILED_SHARE * total:
            continue
        serious = count >= FAILED_SERIOUS * total and outcome in FAILURES
        cause = next((each for each in report.failures.causes if each.outcome == outcome), None)
        english, chinese = (
            cause_text(cause.error_type, cause.message, language) if cause else ""
            for language in LANGUAGES
        )
        yield _advice(
            code, "critical" if serious else "warning",
            f"share_{outcome}", "share", round(count / total, 6),
            count=written.count(count), share=written.share(count / total),
            cause=(english or "not known", chinese or "不详"),
        )  # fmt: skip


def _waiting(report: Report) -> Iterator[Advice]:
    stage, workers, peak = _stage(report, "queue_wait"), report.workers, report.peak
    if not stage or stage.share < WAIT_SHARE or stage.p95_ms < STAGE_P95_MS or not _enough(report):
        return
    few = workers.needed_at_peak is not None and workers.needed_at_peak > (workers.mean or 0)
    yield _advice(
        "waiting" if few else "bursts", "warning", "queue_wait_share", "share", stage.share,
        share=written.share(stage.share), p95=written.milliseconds(stage.p95_ms),
        needed=written.value(workers.needed_at_peak, "count"),
        peak=written.value(peak.per_s if peak else None, "per_s"),
        mean=written.value(workers.mean, "number"),
    )  # fmt: skip


def _saturated(report: Report) -> Iterator[Advice]:
    workers = report.workers
    busiest = workers.utilisation_peak
    if busiest is not None and busiest >= workers.target_utilisation:
        yield _advice(
            "saturated", "warning", "utilisation_peak", "share", busiest,
            share=written.share(busiest),
            target=written.share(workers.target_utilisation),
            mean=written.value(workers.mean, "number"),
        )  # fmt: skip


def _oversized(report: Report) -> Iterator[Advice]:
    workers, peak = report.workers, report.peak
    busy, mean, needed = workers.utilisation_peak, workers.mean, workers.needed_at_peak
    if busy is None or mean is None or needed is None or peak is None:
        return
    if busy < IDLE_UTILISATION and int(mean) > needed and _enough(report):
        yield _advice(
            "oversized", "info", "utilisation_peak", "share", busy,
            share=written.share(busy), needed=str(needed),
            peak=written.value(peak.per_s, "per_s"), mean=written.value(mean, "number"),
        )  # fmt: skip


def _large_images(report: Report) -> Iterator[Advice]:
    size = report.image_bytes_mean
    for name in ("preprocess", "upload"):
        stage = _stage(report, name)
        if stage and stage.share >= STAGE_SHARE and stage.p95_ms >= STAGE_P95_MS:
            yield _advice(
                name, "info", f"{name}_share", "share", stage.share,
                share=written.share(stage.share), p95=written.milliseconds(stage.p95_ms),
                size=written.NONE if size is None else written.size(size),
            )  # fmt: skip


def _slow_inference(report: Report) -> Iterator[Advice]:
    stage = _stage(report, "inference")
    if not stage or set(report.workers.busy_s) != {"cpu"}:
        return
    if stage.share >= STAGE_SHARE and stage.p95_ms >= SLOW_INFERENCE_MS:
        yield _advice(
            "inference", "info", "inference_p95", "ms", stage.p95_ms,
            share=written.share(stage.share), p95=written.milliseconds(stage.p95_ms),
        )  # fmt: skip


def _slower(report: Report) -> Iterator[Advice]:
    p95 = report.figure("latency_p95")
    if p95.value is None or p95.before is None or (p95.change or 0) < SLOWER or not _enough(report):
        return
    grown = [(each, each.p95_before_ms) for each in report.stages if each.p95_before_ms is not None]
    if not grown:
        return
    stage, before_ms = max(grown, key=lambda each: each[0].p95_ms - each[1])
    yield _advice(
        "slower", "warning", "latency_p95", "ms", p95.value,
        now=written.milliseconds(p95.value), before=written.milliseconds(p95.before),
        stage=(stage_name(stage.stage, "en"), stage_name(stage.stage, "zh")),
        stage_now=written.milliseconds(stage.p95_ms),
        stage_before=written.milliseconds(before_ms),
    )  # fmt: skip


def _memory(report: Report) -> Iterator[Advice]:
    used = report.workers.memory_max
    if used is not None and used >= MEMORY:
        severity: Severity = "critical" if used >= MEMORY_SERIOUS else "warning"
        yield _advice("memory", severity, "memory_max", "share", used, share=written.share(used))


def _quiet(report: Report) -> Iterator[Advice]:
    line = report.timeline
    last = max(
        (i for counts in line.requests.values() for i, count in enumerate(counts) if count),
        default=None,
    )
    if last is None:
        return
    ended_at = min(line.start_at + (last + 1) * line.step_s, report.generated_at)
    quiet_s = report.generated_at - ended_at
    if quiet_s >= QUIET_HOURS * 3600:
        yield _advice(
            "quiet", "warning", "hours_without_requests", "hours", round(quiet_s / 3600, 1),
            time=(written.duration(quiet_s, "en"), written.duration(quiet_s, "zh")),
        )  # fmt: skip


def _noisy(report: Report) -> Iterator[Advice]:
    for alert in report.alerts.fired:
        if alert.times >= NOISY_TIMES:
            yield _advice(
                "noisy", "info", f"alert:{alert.name}", "count", alert.times,
                name=alert.name, times=str(alert.times),
            )  # fmt: skip


def _enough(report: Report) -> bool:
    return sum(report.requests.values()) >= LEAST_REQUESTS


def _stage(report: Report, name: str) -> Stage | None:
    return next((stage for stage in report.stages if stage.stage == name), None)


_RULES = (
    _fallback,
    _outcomes,
    _waiting,
    _saturated,
    _memory,
    _slower,
    _quiet,
    _slow_inference,
    _large_images,
    _oversized,
    _noisy,
)
