"""A load as a report: JSON, one HTML file without scripts, or lines for a terminal."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from run.load import chart
from run.load.figures import KINDS, Figures, at_percentile
from run.load.plan import PERCENTILES, Goal

HERE = Path(__file__).parent

FREE_OF_OMISSION = (
    "Latency counts from when a request was due, not from when it could be sent. While the service "
    "stands still, requests go on being due, and each waits its full time in these percentiles."
)
CLOSED_LOOP = (
    "Each client waits for its answer before it sends again, so a service that stands still is "
    "asked less often, and percentiles of a closed loop are kinder than what independent clients "
    "would see: --rate measures that."
)


@dataclass
class LoadReport:
    """All that was measured. `last` is the run that the report is about."""

    target: str
    version: str
    began: datetime
    images: int
    image_bytes: int
    timeout_s: float
    open_loop: bool
    runs: list[Figures]
    goal: Goal | None = None
    #: The rates of a search, in the order of `runs`.
    rates: list[float] = field(default_factory=list)
    found_rate: float | None = None
    interrupted: bool = False

    @property
    def last(self) -> Figures:
        """Of a search the run at the rate that was found; the last one otherwise."""
        passed = [
            run for rate, run in zip(self.rates, self.runs, strict=False)
            if run.passed and rate == self.found_rate
        ]  # fmt: skip
        return passed[-1] if passed else self.runs[-1]

    def as_json(self) -> str:
        """The report with all figures, as a JSON document."""
        document: dict[str, Any] = {
            "version": self.version,
            "target": self.target,
            "began": self.began.astimezone(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "images": {"count": self.images, "bytes": self.image_bytes},
            "timeout_s": self.timeout_s,
            "open_loop": self.open_loop,
            "interrupted": self.interrupted,
            "search": None,
            "run": asdict(self.last),
        }
        if self.goal:
            document["search"] = {
                "percentile": self.goal.percentile,
                "latency_ms": self.goal.latency_s * 1e3,
                "rate_per_s": self.found_rate,
                "steps": [
                    {"rate_per_s": rate, "passed": run.passed, "requests": run.requests,
                     "counts": run.counts, "ok_per_s": run.ok_per_s,
                     "latency_ok_ms": run.latency_ok_ms, "limits": run.limits}
                    for rate, run in zip(self.rates, self.runs, strict=True)
                ],
            }  # fmt: skip
        return json.dumps(document, indent=1)

    def as_html(self) -> str:
        """The report as a page of its own: nothing is fetched from anywhere."""
        style = files("monitoring.reports").joinpath("report.css").read_text(encoding="utf-8")
        return _ENVIRONMENT.get_template("report.html").render(
            report=self, run=self.last, kinds=KINDS, percentiles=PERCENTILES, chart=chart,
            note=FREE_OF_OMISSION if self.open_loop else CLOSED_LOOP, at=at_percentile,
            style=Markup(style),
        )  # fmt: skip

    def as_text(self) -> str:
        """The report for a terminal."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        run = self.last
        if self.goal:
            for rate, step in zip(self.rates, self.runs, strict=True):
                yield (
                    f"  {rate:>9,.1f}/s  p{self.goal.percentile:g} "
                    f"{ms(at_percentile(step, self.goal)):>9}"
                    f"  ok {step.counts['ok']:,} of {step.requests:,}"
                    f"  {'kept' if step.passed else 'missed'}"
                )
            yield (
                f"highest rate with {self.goal}: {self.found_rate:,.1f} requests a second"
                if self.found_rate
                else f"no rate was found with {self.goal}"
            )
            yield ""
        yield f"{self.target}: {run.plan}"
        yield (
            f"{run.requests:,} requests in {run.seconds:,.1f} s ({run.sent_per_s:,.1f}/s), "
            f"{run.ok_per_s:,.1f}/s answered well; {size(run.bytes_sent)} sent, "
            f"{size(run.bytes_received)} received"
        )
        names = list(run.latency_ms)
        yield ""
        yield "  latency   " + "".join(f"{name:>10}" for name in names)
        for title, values in (("all", run.latency_ms), ("ok", run.latency_ok_ms)):
            yield f"  {title:<10}" + "".join(f"{ms(values[name]):>10}" for name in names)
        yield ""
        for row in run.outcomes:
            line = (
                f"  {row['requests']:>9,}  {row['share']:>7.2%}  {row['kind']:<9}  {row['outcome']}"
            )
            yield f"{line}: {row['detail']}" if row["detail"] else line
        if run.slowest and any(slow["trace_id"] for slow in run.slowest):
            yield ""
            yield "  the slowest"
            for slow in run.slowest[:3]:
                where = self.trace(slow["trace_id"])
                yield f"  {ms(slow['latency_ms']):>10}  {slow['outcome']:<6}  {where}"
        yield ""
        yield from run.limits
        yield FREE_OF_OMISSION if self.open_loop else CLOSED_LOOP
        if self.interrupted:
            yield "It was interrupted: these figures are of the part that was run."

    def trace(self, trace_id: str) -> str:
        """The address of a trace's page, or nothing."""
        return f"{self.target}/traces?trace={trace_id}" if trace_id else ""


def ms(value: float | None) -> str:
    """Milliseconds with three figures that count."""
    if value is None or value == float("inf"):
        return "–"
    if value >= 10_000:
        return f"{value / 1e3:,.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def size(count: float) -> str:
    """Bytes in kB, MB or GB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.2f} GB"


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"ms": ms, "size": size}
