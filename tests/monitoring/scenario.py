"""A service's life told once, and fed to either store: by OTLP, or as a scrape's samples."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from monitoring.stores.embedded.store import EmbeddedStore
from telemetry.definitions import Histogram, Metric
from tests.monitoring import prometheus
from tests.monitoring.readings import Process

Value = float | Sequence[float]


@dataclass
class Scenario:
    """Cumulative readings of processes, in the order of time for each series."""

    readings: list[tuple[str, str, Metric, float, dict[str, str], Value]] = field(
        default_factory=list
    )

    def counter(self, who: str, metric: Metric, at: float, value: float, **labels: str) -> None:
        """What a counter of process `who` has reached."""
        self.readings.append(("counter", who, metric, at, labels, value))

    def gauge(self, who: str, metric: Metric, at: float, value: float, **labels: str) -> None:
        """A gauge's value."""
        self.readings.append(("gauge", who, metric, at, labels, value))

    def histogram(
        self, who: str, metric: Metric, at: float, values: Sequence[float], **labels: str
    ) -> None:
        """Everything that a histogram has measured so far."""
        self.readings.append(("histogram", who, metric, at, labels, values))

    def feed(self, store: EmbeddedStore) -> None:
        """Send it all to the embedded store."""
        begins: dict[str, float] = {}
        for _, who, _, at, _, _ in self.readings:
            begins[who] = min(at, begins.get(who, at))
        for kind, who, metric, at, labels, value in sorted(self.readings, key=lambda each: each[3]):
            process = Process(who, start_s=begins[who] - 1)
            if isinstance(value, (int, float)):
                make = process.counter if kind == "counter" else process.gauge
                store.receive_metrics(make(metric, at, value, **labels))
            else:
                assert isinstance(metric, Histogram)
                store.receive_metrics(
                    process.histogram(metric, at, value, metric.buckets, **labels)
                )
        store.flush()

    @contextmanager
    def prometheus(self, folder: Path) -> Iterator[str]:
        """A real Prometheus that holds it all; its address."""
        prometheus.load(folder, self._openmetrics())
        with prometheus.serve(folder) as url:
            yield url

    def _openmetrics(self) -> str:
        families: dict[str, list[str]] = {}
        for who, at in sorted({(who, at) for _, who, _, at, _, _ in self.readings}):
            # What the Collector tells of each process apart from its metrics.
            info = f'target_info{{job="damoscope-frontend",instance="{who}",host_id="h1"}} 1 {at}'
            families.setdefault("target_info gauge", []).append(info)
        for kind, who, metric, at, labels, value in self.readings:
            family = metric.exported.removesuffix("_total")
            lines = families.setdefault(f"{family} {kind}", [])
            series = f'job="damoscope-frontend",instance="{who}"' + "".join(
                f',{key}="{text}"' for key, text in labels.items()
            )
            if isinstance(value, (int, float)):
                suffix = "_total" if kind == "counter" else ""
                lines.append(f"{family}{suffix}{{{series}}} {value} {at}")
                continue
            measured = sorted(value)
            assert isinstance(metric, Histogram)
            for bound in metric.buckets:
                below = bisect_left(measured, bound + 1e-12)
                lines.append(f'{family}_bucket{{{series},le="{float(bound)}"}} {below} {at}')
            lines.append(f'{family}_bucket{{{series},le="+Inf"}} {len(measured)} {at}')
            lines.append(f"{family}_sum{{{series}}} {sum(measured)} {at}")
            lines.append(f"{family}_count{{{series}}} {len(measured)} {at}")
        return (
            "\n".join(
                f"# TYPE {family}\n" + "\n".join(sorted(lines, key=lambda each: each.split(" ")[0]))
                for family, lines in families.items()
            )
            + "\n# EOF\n"
        )
