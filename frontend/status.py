"""The state of queue and workers, read from Redis once a second and shared by all who ask."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Observation
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from frontend import tasks
from monitoring.stores.selection import Stores
from pipeline.complaints import complaints
from pipeline.connection import explain
from pipeline.errors import Unavailable
from pipeline.queue.admission import Throughput
from pipeline.queue.malformed import Tally, nobody
from pipeline.queue.pools import DEFAULT, Pool
from pipeline.queue.workers import Census, look
from telemetry import catalogue
from telemetry.instruments import Instruments

log = logging.getLogger("damoscope.frontend")

REFRESH_S = 1.0
#: How long the loss of the telemetry store is reported.
LOSS_S = 86400.0
#: Models that workers are told apart by; of more, those that fewest use are left out.
MODELS_MAX = 50
#: What is written to see whether Redis takes writes, and the seconds until it is forgotten.
PROBE_KEY, PROBE_TTL_S = "damoscope:probe", 60


@dataclass(frozen=True)
class Snapshot(Census):
    """One look at Redis. `problem` says why there is nothing to see, when there is not."""

    problem: str = "the first look at Redis is not done yet"
    #: Why Redis takes no image, although it can be looked at; empty when it does.
    full: str = ""
    #: When the look began (time.monotonic).
    began_s: float = 0.0

    @property
    def not_ready(self) -> str:
        """Why no image that names no model can be detected now; empty when it can."""
        return self.not_ready_for(DEFAULT)

    def not_ready_for(self, pool: Pool) -> str:
        """Why no image for a pool can be detected now; empty when it can."""
        if self.problem or self.full:
            return self.problem or self.full
        if self.workers_of(pool):
            return ""
        return f"no worker serves model {pool.model}" if pool.model else "no worker is ready"

    def check(self, pool: Pool) -> None:
        """Raises Unavailable where no image for a pool can be detected now."""
        if reason := self.not_ready_for(pool):
            error = Unavailable(f"{reason}; try again shortly")
            error.queue = "" if self.problem or self.full else pool.name
            raise error

    @property
    def not_started(self) -> list[str]:
        """Which workers do not start, and why: a line for each host."""
        return [
            f"a worker on {one.host} does not start: {one.reason}" for one in self.start_failures
        ]

    @property
    def nobody_works(self) -> bool:
        """Whether it is known that no worker is there."""
        # Where Redis takes no writes, workers are there and cannot say so.
        return not self.problem and not self.full and not self.workers

    def throughput(self, pool: Pool) -> Throughput | None:
        """What a pool's workers do together; None where they have not said."""
        images_per_s = self.images_per_s(pool)
        if images_per_s is None:
            return None
        workers = self.workers_of(pool)
        waits = any(self.depth.get(queue) for queue in pool.queues.values())
        return Throughput(
            images_per_s, len(workers), nothing_waits_s=None if waits else self.began_s,
            busy=sum(worker.busy for worker in workers),
        )  # fmt: skip


class Status:
    """Keeps `snapshot` fresh while it runs, and reports it as gauges."""

    def __init__(self, redis: Redis, tally: Tally = nobody) -> None:
        self._redis, self._tally = redis, tally
        self._task: asyncio.Task[None] | None = None
        self.snapshot = Snapshot()

    async def start(self) -> None:
        """Look once, then every second."""
        await self.refresh()
        self._task = asyncio.create_task(self._run(), name="status")

    async def close(self) -> None:
        """Stop looking."""
        if self._task:
            await tasks.end(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Look now."""
        began_s = time.monotonic()
        try:
            census = await look(self._redis, self._tally)
            self.snapshot = Snapshot(
                **vars(census), problem="", full=await self._write(), began_s=began_s
            )
        except (RedisError, OSError) as error:
            complaints.of_redis(log, error)
            self.snapshot = Snapshot(problem=explain(error))
        except Exception:  # whatever it is, the next look must come
            if complaints.due("status"):
                log.exception("what is in Redis cannot be read")
            self.snapshot = Snapshot(problem="what is in Redis cannot be read")

    async def _write(self) -> str:
        """Why Redis refuses to write, as it would refuse an image: full, a replica, its disk ..."""
        try:
            await self._redis.set(PROBE_KEY, "", ex=PROBE_TTL_S)
        except ResponseError as error:
            complaints.of_redis(log, error)
            return explain(error)
        return ""

    def observe(self, instruments: Instruments) -> None:
        """Report the snapshot as the gauges of queue and workers."""

        def depth(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(n, {"queue": q}) for q, n in self.snapshot.depth.items()]

        def age(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(s, {"queue": q}) for q, s in self.snapshot.oldest_age_s.items()]

        def workers(_: CallbackOptions) -> Iterable[Observation]:
            if self.snapshot.problem:
                return []
            busy = sum(worker.busy for worker in self.snapshot.workers)
            idle = len(self.snapshot.workers) - busy
            return [Observation(busy, {"state": "busy"}), Observation(idle, {"state": "idle"})]

        def takers(_: CallbackOptions) -> Iterable[Observation]:
            seen = self.snapshot
            if seen.problem:
                return []
            return [
                Observation(len(seen.workers_of(pool)), {"queue": pool.name})
                for pool in (DEFAULT, *seen.pools)
            ]

        def fallback(_: CallbackOptions) -> Iterable[Observation]:
            if self.snapshot.problem:
                return []
            return [Observation(sum(worker.fallback for worker in self.snapshot.workers))]

        def models(_: CallbackOptions) -> Iterable[Observation]:
            if self.snapshot.problem:
                return []
            found = Counter((each.model, each.model_version) for each in self.snapshot.workers)
            return [
                Observation(count, {"model": model, "version": version})
                for (model, version), count in found.most_common(MODELS_MAX)
                if model
            ]

        instruments.observe(catalogue.QUEUE_DEPTH, depth)
        instruments.observe(catalogue.QUEUE_OLDEST_AGE, age)
        instruments.observe(catalogue.WORKERS, workers)
        instruments.observe(catalogue.QUEUE_WORKERS, takers)
        instruments.observe(catalogue.WORKERS_FALLBACK, fallback)
        instruments.observe(catalogue.WORKER_MODELS, models)


def observe_losses(instruments: Instruments, stores: Stores) -> None:
    """Report how often the embedded store had to be begun anew; nothing where there is none."""

    def losses(_: CallbackOptions) -> Iterable[Observation]:
        return [] if stores.receiver is None else [Observation(stores.receiver.begun_anew(LOSS_S))]

    instruments.observe(catalogue.TELEMETRY_LOSSES, losses)
