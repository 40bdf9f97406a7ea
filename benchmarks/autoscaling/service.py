"""Cameras, a queue and workers, simulated: each image by itself, first come, first served."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

#: An image's share of a worker: the chart's `secondsPerImage`, give or take a fifth.
IMAGE_S = 0.05
SPREAD = 0.2
#: The service's defaults: requests' `timeout`, DAMOSCOPE_QUEUE_MAX.
TIMEOUT_S = 30.0
QUEUE_MAX = 1000
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Shift:
    """So many cameras with an image a second each, from one moment to another."""

    cameras: int
    begin_s: float
    end_s: float


#: A hundred cameras are switched on at nine, most of them rest at noon, and nothing comes at night.
DAY = (
    Shift(100, 9 * HOUR, 12 * HOUR),
    Shift(30, 12 * HOUR, 13 * HOUR),
    Shift(100, 13 * HOUR, 17 * HOUR),
)


def arrivals(shifts: tuple[Shift, ...], begin_s: float, end_s: float, seed: int) -> list[float]:
    """When images come: each camera keeps its own beat, with some jitter of the network."""
    chance = random.Random(seed)
    found = []
    for shift in shifts:
        for camera in range(shift.cameras):
            first = shift.begin_s + camera / shift.cameras
            beat = first + max(0.0, begin_s - first) // 1.0
            while beat < min(end_s, shift.end_s):
                when = beat + chance.random() * 0.05
                if begin_s <= when < end_s:
                    found.append(when)
                beat += 1.0
    return sorted(found)


@dataclass(slots=True)
class Worker:
    """One worker: what its counters would say."""

    name: str
    ready_s: float
    busy_s: float = 0.0
    images: int = 0
    leaves: bool = False


@dataclass
class Service:
    """A queue and those who work on it. `start_s`: from a pod's creation until it takes images."""

    start_s: float
    seed: int = 1
    workers: list[Worker] = field(default_factory=list)
    #: (when it was answered, how long that took)
    answered: list[tuple[float, float]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    worker_s: float = 0.0
    _queue: deque[float] = field(default_factory=deque)
    _free: list[tuple[float, int]] = field(default_factory=list)
    _made: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    @property
    def waiting(self) -> int:
        """How many images wait."""
        return len(self._queue)

    def scale(self, count: int, now: float, start_s: float | None = None) -> None:
        """Create pods, which cost from now on and work later, or let the newest leave."""
        while len(self.workers) < count:
            ready = now + (self.start_s if start_s is None else start_s)
            worker = Worker(f"w{len(self._made)}", ready)
            heapq.heappush(self._free, (ready, len(self._made)))
            self._made.append(worker)
            self.workers.append(worker)
        while len(self.workers) > count:
            self.workers.pop().leaves = True

    def run(self, arriving: Iterable[float], begin: float, end: float) -> None:
        """All that happens from `begin` until `end`."""
        for when in arriving:
            self._work(when)
            ready = sum(worker.ready_s <= when for worker in self.workers)
            ahead_s = len(self._queue) * IMAGE_S / ready if ready else 0.0
            if not ready or ahead_s > TIMEOUT_S or len(self._queue) >= QUEUE_MAX:
                self.refused.append(when)
            else:
                self._queue.append(when)
        self._work(end)
        self.worker_s += len(self.workers) * (end - begin)

    def _work(self, until: float) -> None:
        while self._queue and self._free:
            free, number = self._free[0]
            worker = self._made[number]
            if worker.leaves:  # it has done what it had in hand
                heapq.heappop(self._free)
                continue
            came = self._queue[0]
            start = max(free, came)
            if start >= until:
                return
            self._queue.popleft()
            took = IMAGE_S * (1 + SPREAD * (2 * self._chance.random() - 1))
            heapq.heapreplace(self._free, (start + took, number))
            worker.busy_s += took
            worker.images += 1
            self.answered.append((start + took, start + took - came))
