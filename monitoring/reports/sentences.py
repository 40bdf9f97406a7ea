"""What a report says in sentences, in one language: both renderings are made of these."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from monitoring.alerts.budgets import Budget
from monitoring.figures.by_model import VersionFigures
from monitoring.messages import Language
from monitoring.reports import format as written
from monitoring.reports.schema import Advice, Criterion, Figure, Fired, Period, Report
from monitoring.reports.text import cause_text, words
from telemetry.outcomes import success_rate

#: Hours of the day that are named as the busiest.
HOURS_NAMED = 3
#: Columns of the table of models, between their names and the score; and from how many on there is
#: anything to compare.
MODEL_COLUMNS = ("version", "since", "images", "success", "p50", "p95", "boxes")
MODELS_FROM = 2


class Sentences:
    """A report in plain sentences. None of them holds markup; untrusted text is as it came."""

    def __init__(self, report: Report, language: Language) -> None:
        self.report, self.language = report, language
        self.words = words(language)
        self.zone = ZoneInfo(report.timezone)

    @property
    def total(self) -> int:
        """All requests of the period."""
        return sum(self.report.requests.values())

    def say(self, key: str, **facts: str) -> str:
        """One of the texts with its facts filled in."""
        return self.words[key].format(**facts)

    def joined(self, *sentences: str) -> str:
        """Sentences one after the other, those that are empty left out."""
        return ("" if self.language == "zh" else " ").join(each for each in sentences if each)

    def labelled(self, label: str, text: str) -> str:
        """`Label: text`."""
        return f"{label}：{text}" if self.language == "zh" else f"{label}: {text}"

    def aside(self, text: str) -> str:
        """` (text)`."""
        return f"（{text}）" if self.language == "zh" else f" ({text})"

    def title(self) -> str:
        """`Service report: the last 7 days`."""
        days = self.report.days
        span = self.say("title.day") if days == 1 else self.say("title.days", days=str(days))
        return self.labelled(self.words["title"], span)

    def period(self) -> str:
        """From when to when."""
        period = self.report.period
        end_at = min(period.end_at, self.report.generated_at)
        return self.say(
            "period",
            start=self.moment(period.start_at),
            end=self.moment(end_at),
            zone=self.report.timezone,
        )

    def observed(self) -> str:
        """How long the service was seen, where that is not all the time."""
        period = self.report.period
        length = min(period.end_at, self.report.generated_at) - period.start_at
        if period.observed_s > 0.99 * length:
            return ""
        if not period.observed_s:
            return self.say("observed.none")
        return self.say(
            "observed", observed=self.duration(period.observed_s), length=self.duration(length)
        )

    def objectives(self) -> str:
        """What the table of objectives is of."""
        found = self.report.objectives
        lengths = sorted({each.window_s for each in found})
        text = self.say(
            "objectives.text", windows=", ".join(self.duration(each) for each in lengths)
        )
        since = max((each.since_at for each in found if each.since_at is not None), default=None)
        if since is None:
            return text
        return self.joined(text, self.say("objectives.since", since=self.moment(since)))

    def objective(self, each: Budget) -> list[str]:
        """Cells of one objective: target, what was reached, what was bad, what is left, burning."""
        target = written.share(each.target)
        if each.threshold_s is not None:
            threshold = written.milliseconds(1000 * each.threshold_s)
            target = self.say("objective.within", target=target, threshold=threshold)
        left = written.NONE if each.left is None else f"{100 * each.left:,.0f} %"
        return [
            target,
            written.value(each.reached, "share"),
            f"{written.count(each.bad)} / {written.count(each.requests)}",
            left.replace("-", "−"),
            written.value(each.burn_rate, "number"),
        ]

    def compared(self) -> str:
        """What the changes are against."""
        before = self.report.before
        if before is None:
            return self.say("compared.none")
        key = "compared.day" if self.report.days == 1 else "compared"
        sentence = self.say(
            key,
            days=str(self.report.days),
            start=self.moment(before.start_at),
            end=self.moment(before.end_at),
        )
        return self.joined(sentence, self._part(before))

    def _part(self, before: Period) -> str:
        if before.observed_s > 0.99 * (before.end_at - before.start_at):
            return ""
        return self.say("compared.part", observed=self.duration(before.observed_s))

    def lede(self) -> str:
        """The report in two sentences."""
        report = self.report
        if not self.total:
            return self.say("empty")
        facts = {
            "requests": written.count(self.total),
            "success": self.value(report.figure("success_rate")),
        }
        if report.latency is None:
            return self.say("lede.short", **facts)
        facts["p50"] = written.milliseconds(report.latency.p50_ms)
        facts["p95"] = written.milliseconds(report.latency.p95_ms)
        peak = report.peak and self.say(
            "lede.peak", at=self.moment(report.peak.at), step=self.step(report.peak.step_s),
            rate=written.value(report.peak.per_s, "per_s"),
        )  # fmt: skip
        return self.joined(self.say("lede", **facts), peak or "")

    def peak(self) -> str:
        """Mean and peak rate."""
        peak = self.report.peak
        if peak is None:
            return ""
        return self.say(
            "peak" if round(peak.step_s) == 60 else "peak.minutes",
            mean=self.value(self.report.figure("qps_mean")),
            peak=written.value(peak.per_s, "per_s"),
            step=self.step(peak.step_s).strip(),
            at=self.moment(peak.at),
        )

    def hours(self) -> str:
        """The busiest hours of the day."""
        hours = self.report.hours
        busiest = sorted(
            (hour for hour in range(24) if hours[hour]), key=lambda hour: (-hours[hour], hour)
        )
        if not busiest:
            return ""
        comma = "、" if self.language == "zh" else ", "
        named = comma.join(f"{hour:02}:00" for hour in busiest[:HOURS_NAMED])
        return self.say("hours.text", hours=named, zone=self.report.timezone)

    def failures(self) -> str:
        """How many failed, and what is known of them."""
        failures = self.report.failures
        if not self.total:
            return ""
        if not failures.count:
            return self.say("failures.none")
        known = (
            self.say("failures.looked", looked=written.count(failures.looked_at))
            if failures.looked_at
            else self.say("failures.untraced")
        )
        sentence = self.say(
            "failures.text",
            count=written.count(failures.count),
            total=written.count(self.total),
            share=written.share(failures.count / self.total),
        )
        return self.joined(sentence, known)

    def clients(self) -> str:
        """How clients are counted, where that needs a word."""
        if self.report.clients_as == "off":
            return self.say("clients.off")
        if not self.report.clients:
            return self.say("clients.none")
        return self.say("clients.hashed") if self.report.clients_as == "hashed" else ""

    def workers(self) -> Iterator[str]:
        """What the workers did."""
        found = self.report.workers
        if found.mean is None or found.hours is None:
            yield self.say("workers.none")
        else:
            yield self.say(
                "workers.text",
                mean=written.decimal(found.mean),
                hours=written.decimal(found.hours),
                utilisation=written.value(found.utilisation, "share"),
            )
        if found.utilisation_peak is not None:
            yield self.say(
                "workers.busiest", busiest=written.value(found.utilisation_peak, "share")
            )
        if found.busy_s_per_image and found.needed_at_peak:
            yield self.say(
                "workers.image",
                busy=written.milliseconds(1e3 * found.busy_s_per_image),
                rate=written.value(found.per_worker_per_s, "per_s"),
                needed=self.count_of_workers(found.needed_at_peak),
                target=written.share(found.target_utilisation),
            )
        if found.batch_size_mean is not None and found.batch_size_mean > 1:
            yield self.say("workers.batch", batch=written.decimal(found.batch_size_mean))
        if found.queue_depth_max is not None and found.queue_oldest_age_max_s is not None:
            yield self.say(
                "workers.queue",
                depth=written.count(found.queue_depth_max),
                age=written.milliseconds(1e3 * found.queue_oldest_age_max_s),
            )
        if found.memory_max is not None and found.cpu_max is not None:
            yield self.say(
                "workers.hosts",
                memory=written.share(found.memory_max),
                cpu=written.share(found.cpu_max),
                step=self.step(self.report.timeline.step_s).strip(),
            )

    def cost(self) -> str:
        """What the workers cost, or why that is not known."""
        cost, hours = self.report.cost, self.report.workers.hours
        if cost.reason or cost.total is None or cost.price_per_hour is None:
            return self.say(f"cost.{cost.reason or 'no_workers'}")
        return self.say(
            "cost.text",
            hours=written.value(hours, "number"),
            price=written.value(cost.price_per_hour, "money", cost.currency),
            total=written.value(cost.total, "money", cost.currency),
            each=written.value(cost.per_1000_images, "money", cost.currency),
        )

    def alerts(self) -> str:
        """Why there is no list of alerts, where there is none."""
        if not self.report.alerts.known:
            return self.say("alerts.unknown")
        return "" if self.report.alerts.fired else self.say("alerts.none")

    def notified(self, fired: Fired) -> str:
        """What became of the notification of an alert's last time."""
        found = fired.delivery
        if found is None:
            none = "silenced" if fired.silenced else "none"
            return self.say(f"notified.{'unknown' if fired.notified else none}")
        sent, channels = written.count(found.sent), written.count(found.channels)
        told = self.say(f"notified.{found.state}", sent=sent, channels=channels)
        return f"{told} ({found.error})" if found.error else told

    def rating(self) -> str:
        """The rule of the rating, or why there is none."""
        rating = self.report.rating
        none = "" if rating.grade else self.say("rating.none", least=str(rating.least))
        return self.joined(none, self.say("rating.rule"))

    def bounds(self, criterion: Criterion) -> str:
        """`at most 500 ms · 1.00 s · 2.00 s · 5.00 s`."""
        listed = " · ".join(written.value(bound, criterion.unit) for bound in criterion.bounds)
        return self.say(criterion.better, bounds=listed)

    def figure_of(self, advice: Advice) -> str:
        """The figure that an advice follows from."""
        value = written.value(advice.value, advice.unit)
        return self.say("advice.figure", name=advice.figure, value=value)

    def text_of(self, advice: Advice) -> str:
        """What an advice says."""
        return advice.text.zh if self.language == "zh" else advice.text.en

    def notes(self) -> list[str]:
        """How the figures are made."""
        return [self.words[key] for key in ("note.counts", "note.utilisation", "note.none")]

    def cause(self, error_type: str | None, message: str | None) -> str:
        """Why an image failed, as far as it was recorded. Untrusted text."""
        return cause_text(error_type, message, self.language) or self.words["unknown"]

    def model(self, each: VersionFigures) -> list[str]:
        """What follows a model's name: its version, and the figures of that."""
        took = each.stages_ms.get("inference")
        return [
            each.version,
            self.moment(each.first_at),
            written.count(each.images),
            written.value(success_rate(each.outcomes), "share"),
            written.value(took.p50 if took else None, "ms"),
            written.value(took.p95 if took else None, "ms"),
            written.value(each.detections_per_image, "number"),
            written.NONE if each.mean_score is None else f"{each.mean_score:.2f}",
        ]

    def client(self, name: str) -> str:
        """A client's name as it is shown."""
        return self.words.get(f"client.{name}", name)

    def outcome(self, name: str) -> str:
        """An outcome as people call it."""
        return self.words.get(f"outcome.{name}", name)

    def stage(self, name: str | None) -> str:
        """A stage as people call it."""
        return self.words.get(f"stage.{name}", name or written.NONE)

    def value(self, figure: Figure) -> str:
        """A figure with its unit."""
        return written.value(figure.value, figure.unit, self.report.cost.currency)

    def before(self, figure: Figure) -> str:
        """The same figure of the period before."""
        return written.value(figure.before, figure.unit, self.report.cost.currency)

    def change(self, figure: Figure) -> str:
        """How much it changed; empty where that is not known."""
        return written.change(figure, self.language)

    def moment(self, at: float, *, seconds: bool = False) -> str:
        """A moment in the report's zone."""
        return written.moment(at, self.zone, seconds=seconds)

    def duration(self, seconds: float) -> str:
        """A length of time."""
        return written.duration(seconds, self.language)

    def step(self, seconds: float) -> str:
        """`minute`, `10 minutes`, `83 seconds`."""
        if round(seconds) == 60:
            return self.say("minute")
        if seconds < 600 and round(seconds) % 60:
            return self.say("seconds", count=f"{seconds:.0f}")
        return self.say("minutes", count=f"{seconds / 60:.0f}")

    def count_of_workers(self, count: int) -> str:
        """`1 worker`, `3 workers`."""
        key = "workers.one" if count == 1 else "workers.many"
        return self.say(key, count=str(count))

    def trace(self, trace_id: str) -> str:
        """Address of a trace."""
        return self.report.trace_url.replace("{trace_id}", trace_id)
