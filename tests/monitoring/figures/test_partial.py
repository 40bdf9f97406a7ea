"""Stats, plots and reports over a store to which only some of the exports have come yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.figures.plots import plots
from monitoring.figures.stats import stats
from monitoring.reports.build import build
from monitoring.stores.embedded.store import EmbeddedStore
from pipeline.settings import load
from telemetry import catalogue
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process

FRONTEND = (catalogue.REQUESTS, {"outcome": "ok"}), (catalogue.REQUESTS, {"outcome": "invalid"})
WORKER = (catalogue.DETECTIONS, {"label": "phone"}), (catalogue.WORKER_BUSY, {"provider": "cpu"})
#: Seconds ago at which a process reported, and of which counters.
Heard = tuple[float, tuple[tuple[str, dict[str, str]], ...]]
SOON, LONG_AGO = 20.0, 90.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(tmp_path / "telemetry.db", clock=Clock(NOW_S))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "heard",
    [
        [],
        [(SOON, FRONTEND)],
        [(SOON, FRONTEND[1:])],
        [(SOON, WORKER)],
        [(LONG_AGO, FRONTEND)],
        [(LONG_AGO, WORKER)],
        [(LONG_AGO, FRONTEND), (SOON, WORKER)],
        [(LONG_AGO, WORKER), (SOON, FRONTEND)],
        [(LONG_AGO, FRONTEND), (SOON, FRONTEND[1:]), (SOON, WORKER)],
    ],
)
def test_any_part_of_it(store: EmbeddedStore, heard: list[Heard]) -> None:
    """Frontends and workers export on their own: what one of them says first is shown, and what
    the other has not said yet is null."""
    for number, (ago_s, counters) in enumerate(heard):
        process = Process(f"p{number}", NOW_S - ago_s - 5)
        for name, labels in counters:
            store.receive_metrics(process.counter(name, NOW_S - ago_s, 3, **labels))
    store.flush()
    found = stats(store.metrics, 60, NOW_S)
    now = [name for ago_s, counters in heard if ago_s == SOON for name, _ in counters]
    assert sum(found.requests.values()) == 3 * now.count(catalogue.REQUESTS)
    assert sum(found.detections.values()) == 3 * now.count(catalogue.DETECTIONS)
    assert found.capacity.busy_s_per_image is None
    assert plots(store.metrics, 60, now_s=NOW_S).latency_ms["p50"]
    assert build(store.metrics, store.traces, None, load(), 1, NOW_S)
