"""monitoring.stores.embedded.cumulative: totals stay exact whatever happens to exports."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.stores.contract import Window
from monitoring.stores.embedded.cumulative import Total, added
from monitoring.stores.embedded.store import EmbeddedStore
from telemetry.definitions import Counter, Histogram
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process

#: What happens, step by step: so many events, then an export, perhaps lost, perhaps a restart.
steps = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["sent", "lost", "twice", "late", "restart"])),
    min_size=1,
    max_size=25,
)


@dataclass
class Sender:
    """A process that counts, is restarted, and whose exports have accidents."""

    arrived: list[tuple[float, int, int]] = field(default_factory=list)  # time, start, total
    late: list[tuple[float, int, int]] = field(default_factory=list)
    total: int = 0
    events: int = 0
    start: int = 1

    def run(self, script: list[tuple[int, str]]) -> None:
        for i, (events, fate) in enumerate(script):
            self.total += events
            self.events += events
            export = (NOW_S - 3000 + i * 5, self.start, self.total)
            if fate in ("sent", "twice", "restart"):
                self.arrived += [export] * (2 if fate == "twice" else 1)
            if fate == "late":
                self.late.append(export)
            if fate == "restart":  # a process that ends sends what it has
                self.start, self.total = self.start + 1, 0
        # The last export of all arrives, and those that were held up come after it.
        self.arrived.append((NOW_S - 1, self.start, self.total))
        self.arrived += self.late


@given(steps)
def test_differences_add_up(script: list[tuple[int, str]]) -> None:
    """Lost, doubled and overtaken exports and restarts: the sum is what happened."""
    sender = Sender()
    sender.run(script)
    last: dict[int, Total] = {}
    counted = 0.0
    for time_s, start, total in sender.arrived:
        new = Total(int(time_s * 1e9), total)
        growth = added(last.get(start), new)
        if growth is not None:
            counted += growth.value
            last[start] = new
    assert counted == sender.events


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=3))
def test_stored_totals_are_exact(scripts: list[list[tuple[int, str]]]) -> None:
    """The same through the store, several processes at once, counters and histograms."""
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder) / "telemetry.db", clock=Clock())
        events = 0
        for i, script in enumerate(scripts):
            sender = Sender()
            sender.run(script)
            events += sender.events
            for time_s, start, total in sender.arrived:
                process = Process(str(i), start_s=start)
                store.receive_metrics(process.counter(Counter("c"), time_s, total))
                store.receive_metrics(process.histogram(Histogram("h"), time_s, [0.25] * total))
        store.flush()
        window = Window(NOW_S - 3600, NOW_S)
        counted = store.metrics.increase(Counter("c"), window).get((), 0)
        measured = store.metrics.histogram(Histogram("h"), window).get(())
        assert counted == events
        assert (measured.count if measured else 0) == events
        assert (measured.sum if measured else 0) == events * 0.25
        store.close()


def test_a_histogram_of_negative_values() -> None:
    """The sum of a histogram may fall without a restart: its counts tell."""
    growth = added(Total(1, 5.0, (1, 1)), Total(2, 3.0, (2, 1)))
    assert growth == Total(2, -2.0, (1, 0))
