"""Takes images for a worker. The next batch is taken and decoded while one is in inference, so that
a GPU does not wait for JPEGs, but no sooner than that takes (worker.ahead); those that are to be
looked at in tiles wait for their turn here."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from pipeline.queue.consumer import Consumer, TakenJob
from pipeline.settings import Settings
from worker.ahead import Ahead
from worker.batch import BatchItem
from worker.stages import Stages

#: Seconds an idle worker sleeps at most before it looks at its queues unasked.
IDLE_WAIT_S = 1.0


@dataclass(frozen=True)
class TakenBatch:
    """Images that were prepared for a model, and are run with the same one."""

    items: list[BatchItem]
    stages: Stages


class Taking:
    """What one worker takes, until it is stopping. Its methods raise what Redis raises."""

    def __init__(self, settings: Settings, consumer: Consumer, in_hand: dict[str, TakenJob],
                 stopping: threading.Event, stages: Callable[[], Stages],
                 shadow: Callable[[bytes], None]) -> None:  # fmt: skip
        """`in_hand` has each job by its execution id from the moment it is taken on; `stages` are
        those of the model that runs now; `shadow` runs what is answered already, while nothing else
        waits."""
        self._settings, self._consumer = settings, consumer
        self._in_hand, self._stopping, self._stages = in_hand, stopping, stages
        self._shadow = shadow
        #: Nothing is taken, as `rq suspend` asks.
        self.suspended = False
        self._ahead: Future[TakenBatch] | None = None
        #: Now, instead of when it would be in time.
        self._at_once = threading.Event()
        self._times = Ahead()
        #: Since when there has been a batch in hand while which another may be taken.
        self._since_s: float | None = None
        self._pool = ThreadPoolExecutor(1, "ahead")
        self._tiled: deque[TakenBatch] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._at_once.set()
        self._pool.shutdown()

    def next(self) -> TakenBatch | None:
        """What is to be done now: what was taken already, or what comes within a moment; None once
        the worker has nothing in hand and is to stop."""
        if self._tiled:
            return self._tiled.popleft()
        self._needed()
        future, self._ahead = self._ahead, None
        batch = future.result() if future else None
        if batch and batch.items:
            return batch
        return None if self._stopping.is_set() else self._wait()

    def begin_ahead(self, batch: TakenBatch) -> None:
        """Begin to take the next batch while this one is in hand. One over which a worker died
        keeps no other company (take.lua)."""
        first = batch.items[0].taken
        if self._ahead is None and not self._stopping.is_set() and first.attempt == 1:
            self._since_s = time.monotonic()
            self._at_once.clear()
            self._ahead = self._pool.submit(self._take_ahead, self._times.spare_s())

    def come(self) -> TakenBatch | None:
        """The batch that was taken ahead, if it is there by now."""
        self._needed()
        if self._ahead is None or not self._ahead.done():
            return None
        future, self._ahead = self._ahead, None
        return future.result()

    def put_off_tiled(self, batch: TakenBatch) -> TakenBatch:
        """A batch without what is to be looked at in tiles, which waits for its turn."""
        of = batch.stages
        self._tiled.extend(TakenBatch([item], of) for item in batch.items if item.tiled)
        return TakenBatch([item for item in batch.items if not item.tiled], of)

    @property
    def tiled_wait(self) -> bool:
        """Whether images that are to be looked at in tiles wait for their turn."""
        return bool(self._tiled)

    def _wait(self) -> TakenBatch:
        if self.suspended:
            self._stopping.wait(IDLE_WAIT_S)
            return TakenBatch([], self._stages())
        batch = self._take()
        if not batch.items:
            if (answered := self._consumer.wait(IDLE_WAIT_S)) is not None:
                self._shadow(answered)
            if not self._stopping.is_set():
                batch = self._take()
        return batch

    def _needed(self) -> None:
        """What was in hand is done."""
        if self._since_s is not None:
            self._times.was_in_hand(time.monotonic() - self._since_s)
            self._since_s = None
        self._at_once.set()

    def _take_ahead(self, spare_s: float) -> TakenBatch:
        self._at_once.wait(spare_s)
        if self._stopping.is_set():
            return TakenBatch([], self._stages())
        return self._take(ahead=True)

    def _take(self, ahead: bool = False) -> TakenBatch:
        """Take and preprocess the next batch; empty when nothing waits for this worker."""
        stages = self._stages()
        if self.suspended:
            return TakenBatch([], stages)
        most, began_s = stages.detector.batch_max, time.monotonic()
        jobs = self._consumer.take(most, ahead=ahead)
        if jobs and self._settings.batch_wait_ms and jobs[0].attempt == 1:
            jobs += self._fill(most - len(jobs))
        items = [BatchItem(job) for job in jobs]
        self._in_hand.update((job.execution_id, job) for job in jobs)
        # A hundred tiles take a hundred times the memory: they are made when it is their turn.
        stages.preprocess([item for item in items if not item.tiled])
        if items:
            self._times.was_prepared(time.monotonic() - began_s)
        return TakenBatch(items, stages)

    def _fill(self, room: int) -> list[TakenJob]:
        """Wait up to `batch_wait_ms` for more images."""
        more: list[TakenJob] = []
        deadline = time.monotonic() + self._settings.batch_wait_ms / 1000
        while len(more) < room and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.001))
            more += self._consumer.take(room - len(more))
        return more
