"""Both ends of the queue on a real Redis, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from pipeline.job import DetectJob, DetectOptions, ImageInfo, JobState, Priority
from pipeline.queue.consumer import Consumer, TakenJob
from pipeline.queue.keys import QUEUES
from pipeline.queue.producer import Producer
from tests.servers import RedisProcess

ATTEMPTS_MAX = 3
HELD_S = 600
REPLY_TO = "damoscope:replies:test"
META = {"trace_id": "ab" * 16, "traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}


def detect_job() -> DetectJob:
    return DetectJob(
        options=DetectOptions(),
        image=ImageInfo(width=640, height=480, format="JPEG", bytes=3),
        upload_ms=1.5,
    )


class Bench:
    """Both ends of the queue, and RQ's view of it."""

    def __init__(self, server: RedisProcess) -> None:
        self.url = server.url
        self.redis = server.client
        self.queue_max = 100

    def ask(self, action: Callable[[Producer], Coroutine[Any, Any, Any]]) -> Any:
        async def ask() -> Any:
            redis = AsyncRedis.from_url(self.url)
            producer = Producer(
                redis, queue_max=self.queue_max, job_ttl_s=600, result_ttl_s=3600,
                attempts_max=ATTEMPTS_MAX,
            )  # fmt: skip
            try:
                return await action(producer)
            finally:
                await redis.aclose()

        return asyncio.run(ask())

    def enqueue(self, *ids: str, priority: Priority = "normal", ttl_s: float | None = None) -> None:
        async def enqueue(producer: Producer) -> None:
            for job_id in ids:
                await producer.store_image(job_id, job_id.encode())
                await producer.enqueue(
                    job_id, detect_job(), priority=priority, meta=META, reply_to=REPLY_TO,
                    ttl_s=ttl_s,
                )  # fmt: skip

        self.ask(enqueue)

    def state(self, job_id: str) -> JobState:
        found: JobState = self.ask(lambda producer: producer.state(job_id))
        return found

    def consumer(self, name: str = "w1") -> Consumer:
        """A consumer whose worker is registered, as a worker's is."""
        worker = BaseWorker(
            list(QUEUES.values()), name=name, connection=self.redis, serializer="json"
        )
        if not self.redis.exists(worker.key):
            worker.register_birth()
        return Consumer(self.redis, name, result_ttl_s=3600)

    def job(self, job_id: str) -> Job:
        return Job.fetch(job_id, connection=self.redis, serializer=JSONSerializer)

    def waiting(self, name: str = "detections") -> list[str]:
        found: list[str] = self.rq_queue(name).job_ids
        return found

    def rq_queue(self, name: str = "detections") -> Queue:
        return Queue(name, connection=self.redis, serializer=JSONSerializer)

    def registries(self) -> tuple[list[str], list[str], list[str]]:
        """Jobs started, finished, failed: as RQ's registries of the queue `detections` tell."""
        return tuple(
            kind("detections", connection=self.redis, serializer=JSONSerializer).get_job_ids()
            for kind in (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry)
        )  # type: ignore[return-value]

    def lose(self, *jobs: TakenJob) -> None:
        """Let the leases of these jobs run out, as those of a dead worker do."""
        for job in jobs:
            key = f"rq:wip:{job.queue}"
            self.redis.zadd(key, {f"{job.job_id}:{job.execution_id}": 1.0}, xx=True)

    def listen(self) -> Replies:
        return Replies(self.redis)


class Replies:
    """What a frontend hears on its reply channel."""

    def __init__(self, redis: Redis) -> None:
        self._pubsub = redis.pubsub()
        self._pubsub.subscribe(REPLY_TO)
        assert self._pubsub.get_message(timeout=60)

    def all(self) -> list[tuple[str, dict[str, Any]]]:
        heard = []
        while message := self._pubsub.get_message(timeout=0.05):
            job_id, _, body = message["data"].partition(b" ")
            heard.append((job_id.decode(), orjson.loads(body)))
        return heard

    def close(self) -> None:
        self._pubsub.close()


RESULT = (
    b'{"job_id": "a", "trace_id": "", "model": "m", "provider": "cpu", "detections": [], '
    b'"image": {"width": 1, "height": 1, "format": "PNG", "bytes": 1}, "batch_size": 1, '
    b'"worker": "w1", "timings_ms": {"upload": 1, "queue_wait": 1, "preprocess": 1, '
    b'"inference": 1, "nms": 1, "total": 5}}'
)
