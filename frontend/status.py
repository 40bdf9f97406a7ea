"""The state of queue and workers, read from Redis once a second and shared by all who ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from opentelemetry.metrics import CallbackOptions, Observation
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rq.defaults import RQ_KEY_PREFIX

from pipeline.queue.keys import QUEUE_KEYS, QUEUES, WORKERS_KEY
from telemetry import catalogue
from telemetry.instruments import Instruments

log = logging.getLogger("damoscope.frontend")

REFRESH_S = 1.0
_WORKER_FIELDS = (
    "state", "death", "damoscope_provider", "damoscope_model", "damoscope_labels",
    "damoscope_score_threshold", "damoscope_iou_threshold", "damoscope_fallback",
)  # fmt: skip


@dataclass(frozen=True)
class WorkerState:
    name: str
    busy: bool
    provider: str
    model: str
    labels: tuple[str, ...]
    score_threshold: float | None
    iou_threshold: float | None
    #: It runs on another provider than it was asked to, or on the CPU of a host with a GPU.
    fallback: bool


@dataclass(frozen=True)
class Snapshot:
    """One look at Redis. `problem` says why there is nothing to see, when there is not."""

    problem: str = "the first look at Redis is not done yet"
    #: Jobs waiting, by queue name.
    depth: dict[str, int] = field(default_factory=dict)
    #: Seconds that the first job of each queue has waited.
    oldest_age_s: dict[str, float] = field(default_factory=dict)
    workers: tuple[WorkerState, ...] = ()

    @property
    def not_ready(self) -> str:
        """Why no image can be detected now; empty when it can."""
        if self.problem:
            return self.problem
        return "" if self.workers else "no worker is ready"


class Status:
    """Keeps `snapshot` fresh while it runs, and reports it as gauges."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._task: asyncio.Task[None] | None = None
        self.snapshot = Snapshot()

    async def start(self) -> None:
        """Look once, then every second."""
        await self.refresh()
        self._task = asyncio.create_task(self._run(), name="status")

    async def close(self) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Look now."""
        try:
            self.snapshot = await self._look()
        except (RedisError, OSError) as error:
            if not self.snapshot.problem:
                log.warning("Redis does not answer: %s", error)
            self.snapshot = Snapshot(problem=f"Redis does not answer: {error}")

    async def _look(self) -> Snapshot:
        pipe = self._redis.pipeline(transaction=False)
        for key in QUEUE_KEYS:
            pipe.llen(key)
            pipe.lindex(key, 0)
        pipe.smembers(WORKERS_KEY)
        pipe.time()
        *queues, worker_keys, (seconds, microseconds) = await pipe.execute()
        firsts = queues[1::2]
        for job_id in firsts:
            pipe.hget(f"{RQ_KEY_PREFIX}:job:{(job_id or b'').decode()}", "damoscope_enqueued")
        keys = sorted(worker_keys)
        for key in keys:
            pipe.hmget(key, *_WORKER_FIELDS)
        found = await pipe.execute()
        now_s = seconds + microseconds / 1e6
        waits = [max(0.0, now_s - int(us) / 1e6) if us else 0.0 for us in found[: len(firsts)]]
        workers = zip(keys, found[len(firsts) :], strict=True)
        return Snapshot(
            problem="",
            depth=dict(zip(QUEUES.values(), queues[0::2], strict=True)),
            oldest_age_s=dict(zip(QUEUES.values(), waits, strict=True)),
            workers=tuple(_worker(key, *row) for key, row in workers if row[0] and not row[1]),
        )

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

        def fallback(_: CallbackOptions) -> Iterable[Observation]:
            if self.snapshot.problem:
                return []
            return [Observation(sum(worker.fallback for worker in self.snapshot.workers))]

        instruments.observe(catalogue.QUEUE_DEPTH, depth)
        instruments.observe(catalogue.QUEUE_OLDEST_AGE, age)
        instruments.observe(catalogue.WORKERS, workers)
        instruments.observe(catalogue.WORKERS_FALLBACK, fallback)


def _worker(key: bytes, state: bytes, _: None, *facts: bytes | None) -> WorkerState:
    provider, model, labels, score, iou, fallback = ((fact or b"").decode() for fact in facts)
    return WorkerState(
        name=key.decode().removeprefix(f"{RQ_KEY_PREFIX}:worker:"),
        busy=state == b"busy",
        provider=provider,
        model=model,
        labels=tuple(labels.split("\n")) if labels else (),
        score_threshold=float(score) if score else None,
        iou_threshold=float(iou) if iou else None,
        fallback=fallback == "1",
    )
