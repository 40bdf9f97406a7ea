"""worker.tiled: one image in tiles, call after call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis as AsyncRedis

from pipeline.errors import Cancelled, InvalidParameter, JobExpired
from pipeline.job import DetectionResult, DetectJob, DetectOptions, ImageInfo
from pipeline.queue.consumer import Consumer
from pipeline.queue.producer import Producer
from pipeline.settings import Settings
from tests.servers import RedisProcess
from tests.worker.onnx_models import Export
from tests.worker.pictures import encode, gradient
from worker import tiled
from worker.batch import BatchItem
from worker.model.session import Detector
from worker.stages import Stages

IMAGE = encode(gradient(900, 600) // 2, "PNG")


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """A real session over a model that takes four images at once."""
    path: Path = tmp_path_factory.mktemp("models") / "model.onnx"
    Export(classes=2).save(path)
    made = Stages(Detector(Settings(model=path, provider="cpu", threads=1, batch_max=4)), threads=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Work:
    """One image in a worker's hands, by a real queue."""

    def __init__(self, redis: RedisProcess, job_id: str, tiles: str) -> None:
        self._url, self._id = redis.url, job_id
        info = ImageInfo(width=900, height=600, format="PNG", bytes=len(IMAGE))
        job = DetectJob(options=DetectOptions(tiles=tiles), image=info, upload_ms=1.0)

        async def put(producer: Producer) -> None:
            await producer.store_image(job_id, IMAGE)
            await producer.enqueue(job_id, job, priority="normal", meta={}, reply_to="")

        self._with_producer(put)
        self.consumer = Consumer(redis.client, "w", result_ttl_s=60)
        (taken,) = self.consumer.take(1)
        self.item = BatchItem(taken)
        self.begun, self.ran, self.others = 0, list[int](), 0

    def run(self, stages: Stages, between: Callable[[], object] = lambda: None) -> None:
        def begins() -> None:
            self.begun += 1

        def ran(tiles: int) -> None:
            self.ran.append(tiles)
            between()

        def others() -> None:
            self.others += 1

        tiled.run(self.item, stages, self.consumer, begins=begins, ran=ran, others=others)
        outcome = self.item.error or stages.result(self.item, "w")
        self.consumer.finish([(self.item.taken, outcome)], 0.1)

    def withdraw(self) -> None:
        self._with_producer(lambda producer: producer.withdraw(self._id))

    def _with_producer(self, act: Callable[[Producer], object]) -> None:
        async def go() -> None:
            async with AsyncRedis.from_url(self._url) as redis:
                await act(  # type: ignore[misc]
                    Producer(redis, queue_max=100, job_ttl_s=600, result_ttl_s=60, attempts_max=3)
                )

        asyncio.run(go())


def test_all_tiles_and_the_whole_are_run(stages: Stages, redis: RedisProcess) -> None:
    """As many in a call as the model takes; after each others have their turn, and the watchdog's
    time begins anew; the stages are those of any image."""
    work = Work(redis, "all", "3x2")
    work.run(stages)
    assert work.ran == [4, 3]
    assert work.others == 2
    assert work.begun >= 1 + len(work.ran)
    assert work.item.error is None
    assert list(work.item.stages) == ["preprocess", "inference", "nms"]
    assert work.item.tile_calls is not None
    start, end = work.item.stages["inference"]
    assert 0 < work.item.tile_calls.busy_ns <= end - start
    result = DetectionResult.model_validate_json(stages.result(work.item, "w"))
    assert (result.tiles, result.batch_size) == ("3x2", 4)
    assert work.item.prepared is not None
    assert not work.item.prepared.tiles  # which were needed no longer


def test_a_withdrawn_image_is_left_between_two_calls(stages: Stages, redis: RedisProcess) -> None:
    """Nobody waits for the rest of its tiles."""
    work = Work(redis, "withdrawn", "5x4")
    work.run(stages, work.withdraw)
    assert work.ran == [4]
    assert work.others == 0
    assert isinstance(work.item.error, Cancelled)
    assert redis.client.hget("rq:job:withdrawn", "status") == b"canceled"


def test_an_image_whose_deadline_passes_is_left(stages: Stages, redis: RedisProcess) -> None:
    """Between two calls, as it would not have been begun."""
    work = Work(redis, "late", "5x4")

    def later() -> None:
        work.item.taken.deadline_ns = work.item.taken.now_ns() - 1

    work.run(stages, later)
    assert work.ran == [4]
    assert isinstance(work.item.error, JobExpired)


def test_it_goes_on_while_redis_is_away(stages: Stages, redis: RedisProcess) -> None:
    """Whether it is wanted is asked again after the next call."""
    work = Work(redis, "away", "3x2")
    redis.client.execute_command("ACL", "SETUSER", "default", "-hexists")
    try:
        work.run(stages)
    finally:
        redis.client.execute_command("ACL", "SETUSER", "default", "+hexists")
    assert work.ran == [4, 3]
    assert work.item.error is None


def test_what_is_small_enough_is_run_as_a_whole(stages: Stages, redis: RedisProcess) -> None:
    """Should a job say `auto` of it."""
    small = encode(gradient(300, 200), "PNG")
    work = Work(redis, "small", "auto")
    work.item.taken.image = small
    work.run(stages)
    assert work.ran == [1]
    assert b'"tiles"' not in stages.result(work.item, "w")


def test_a_job_that_asks_for_what_cannot_be_fails_alone(
    stages: Stages, redis: RedisProcess
) -> None:
    """Who writes to Redis may ask for anything."""
    work = Work(redis, "dust", "16x11")
    work.item.taken.image = encode(np.zeros((40, 40, 3), np.uint8), "PNG")
    work.run(stages)
    assert work.ran == []
    assert isinstance(work.item.error, InvalidParameter)
    assert work.item.failed_stage == "preprocess"
