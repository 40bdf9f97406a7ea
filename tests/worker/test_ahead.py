"""worker.ahead and worker.taking: when the next batch is taken while one is in hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.pipeline.queue.bench import Bench
from tests.servers import RedisProcess, eventually
from tests.worker.onnx_models import Export
from worker.ahead import MEMORY, Ahead
from worker.model.session import Detector
from worker.stages import Stages
from worker.taking import TakenBatch, Taking


def test_nothing_is_put_off_before_it_is_known() -> None:
    """The first batches are taken as early as can be: no GPU waits for want of knowledge."""
    ahead = Ahead()
    assert ahead.spare_s() == 0
    ahead.was_prepared(0.01)
    assert ahead.spare_s() == 0


def test_as_late_as_is_in_time() -> None:
    """The shortest of the last batches counts, and twice the longest preparation; what was long ago
    counts no longer."""
    ahead = Ahead()
    for in_hand_s, preparing_s in ((0.2, 0.02), (0.1, 0.01), (0.3, 0.03)):
        ahead.was_in_hand(in_hand_s)
        ahead.was_prepared(preparing_s)
    assert ahead.spare_s() == pytest.approx(0.1 - 2 * 0.03)
    ahead.was_prepared(0.2)  # a large picture
    assert ahead.spare_s() == 0
    for _ in range(MEMORY):
        ahead.was_in_hand(0.3)
        ahead.was_prepared(0.01)
    assert ahead.spare_s() == pytest.approx(0.3 - 2 * 0.01)


class Work:
    """What a worker takes from a queue of its own, one image at a time."""

    def __init__(self, server: RedisProcess, model: Path) -> None:
        self.bench, self.stopping = Bench(server), threading.Event()
        settings = Settings(model=model, provider="cpu", threads=1, batch_max=1)
        self.stages = Stages(Detector(settings), threads=1)
        self.taking = Taking(
            settings, self.bench.consumer("w"), {}, self.stopping, lambda: self.stages,
            lambda answered: None,
        )  # fmt: skip

    def batches_take(self, seconds: float) -> None:
        """As if those before had been in hand for so long."""
        for _ in range(MEMORY):
            self.taking._times.was_in_hand(seconds)
            self.taking._times.was_prepared(0.001)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    model = tmp_path / "model.onnx"
    Export(classes=2).save(model)
    with RedisProcess(tmp_path) as server:
        made = Work(server, model)
        with made.taking:
            yield made
        made.stages.close()


def ids(batch: TakenBatch | None) -> list[str]:
    return [item.taken.job_id for item in batch.items] if batch else []


def test_what_may_wait_waits_in_the_queue(work: Work) -> None:
    """While a batch is in hand that lasts, the next image is everyone's still: one that comes
    meanwhile and goes first is taken first, as soon as the batch is done."""
    work.bench.enqueue("a", "b")
    work.batches_take(3600)
    batch = work.taking.next()
    assert ids(batch) == ["a"]
    assert batch
    work.taking.begin_ahead(batch)
    work.bench.enqueue("urgent", priority="high")
    assert work.bench.waiting() == ["b"]
    assert ids(work.taking.next()) == ["urgent"]


def test_between_tiles_others_have_their_turn_at_once(work: Work) -> None:
    """Who asks whether something has come meanwhile need not wait until it would have been time."""
    work.bench.enqueue("a", "b")
    work.batches_take(3600)
    batch = work.taking.next()
    assert batch
    work.taking.begin_ahead(batch)
    found = list[str]()
    eventually(lambda: found.extend(ids(work.taking.come())) or found, "the batch taken ahead")
    assert found == ["b"]


def test_a_worker_that_stops_takes_no_more(work: Work) -> None:
    """What waited for the batch in hand to be done stays in the queue for others."""
    work.bench.enqueue("a", "b")
    work.batches_take(3600)
    batch = work.taking.next()
    assert batch
    work.taking.begin_ahead(batch)
    work.stopping.set()
    assert work.taking.next() is None
    assert work.bench.waiting() == ["b"]
