"""pipeline.queue.pools: queues of several models side by side, on a real Redis.

Clients are names; workers are consumers that a test has take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis as AsyncRedis
from rq.worker import BaseWorker

from models.names import NAME_MAX
from pipeline import errors
from pipeline.job import DetectJob, DetectOptions, ImageInfo, Priority
from pipeline.queue.admission import Admissions, Throughput
from pipeline.queue.consumer import Consumer, TakenJob
from pipeline.queue.idempotency import fingerprint
from pipeline.queue.keys import (
    DOORBELL,
    QUEUE_KEYS,
    QUEUES,
    ROUNDS,
    TILED,
    WAITING_BYTES,
    WORKERS_KEY,
    image_key,
)
from pipeline.queue.pools import DEFAULT, POOL_KEPT_S, POOLS, POOLS_MAX, Pool, announce, pools_in
from pipeline.queue.producer import MB, Producer
from pipeline.queue.workers import Census, look
from pipeline.setting_values import MODELS_BESIDE_MAX
from tests.pipeline.queue.bench import RESULT
from tests.servers import RedisProcess

MINE = Pool("mine")


class Hall:
    """What enqueues, for images that name no model and for those that ask for `mine`."""

    def __init__(self, server: RedisProcess) -> None:
        self.url, self.redis = server.url, server.client
        self.settings: dict[str, Any] = {"queue_max": 100, "queue_mb": 512}
        self.throughput: dict[Pool, Throughput] = {}

    def ask(self, action: Any) -> Any:
        async def ask() -> Any:
            async with AsyncRedis.from_url(self.url) as redis:
                producer = Producer(
                    redis, job_ttl_s=600, result_ttl_s=3600, attempts_max=3,
                    admissions=Admissions(self.throughput.get), pools=lambda: (MINE,),
                    **self.settings,
                )  # fmt: skip
                return await action(producer)

        return asyncio.run(ask())

    def put(self, *ids: str, pool: Pool = MINE, client: str = "", priority: Priority = "normal",
            size: int = 1000, tiles: str | None = None, ttl_s: float | None = None,
            ) -> None:  # fmt: skip
        side = 4000 if tiles else 1
        info = ImageInfo(width=side, height=side, format="JPEG", bytes=size)
        job = DetectJob(options=DetectOptions(tiles=tiles), image=info, upload_ms=1.0)

        async def put(producer: Producer) -> None:
            for job_id in ids:
                await producer.store_image(job_id, b"image")
                await producer.enqueue(
                    job_id, job, priority=priority, meta={}, reply_to="", client=client, pool=pool,
                    ttl_s=ttl_s,
                )  # fmt: skip

        self.ask(put)

    def withdraw(self, job_id: str) -> str:
        said: str = self.ask(lambda producer: producer.withdraw(job_id))
        return said

    def state(self, job_id: str) -> str:
        return str(self.ask(lambda producer: producer.state(job_id)).status)

    def worker(self, name: str, pool: Pool) -> Consumer:
        """A consumer whose worker is registered, as a worker's is."""
        registered = BaseWorker(
            list(pool.queues.values()), name=name, connection=self.redis, serializer="json"
        )
        registered.register_birth()
        self.redis.hset(registered.key, "state", "idle")
        announce(self.redis, pool, float(self.redis.time()[0]))  # type: ignore[index]
        return Consumer(self.redis, name, result_ttl_s=60, pool=pool)

    def waiting(self, pool: Pool, priority: Priority = "normal") -> list[str]:
        key = f"rq:queue:{pool.queues[priority]}"
        return [job_id.decode() for job_id in self.redis.lrange(key, 0, -1)]  # type: ignore[union-attr]

    def bytes(self) -> int:
        return int(self.redis.get(WAITING_BYTES) or 0)  # type: ignore[arg-type]

    def census(self) -> Census:
        async def census() -> Census:
            async with AsyncRedis.from_url(self.url) as redis:
                return await look(redis)

        return asyncio.run(census())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("pools")) as running:
        yield running


@pytest.fixture
def hall(server: RedisProcess) -> Hall:
    server.client.flushall()
    return Hall(server)


def ids(taken: list[TakenJob]) -> list[str]:
    return [job.job_id for job in taken]


# -- names ---------------------------------------------------------------------------------


def names(pool: Pool) -> set[str]:
    return {*pool.queues.values(), *pool.queue_keys, pool.doorbell, pool.tiled, pool.workers_key}


def test_no_two_pools_have_a_name_in_common() -> None:
    """Whatever models are called: also as our own queues end, or as each other begins."""
    called = ["high", "low", "x", "x-high", "x-low", "x.high", "detections", "detections-high",
              "x" * NAME_MAX]  # fmt: skip
    pools = [DEFAULT, *map(Pool, called)]
    found = [name for pool in pools for name in names(pool)]
    assert len(found) == len(set(found)) == 9 * len(pools)


def test_images_that_name_no_model_wait_where_they_always_did() -> None:
    """So that workers and frontends of the version before share the queue."""
    assert DEFAULT.queues == QUEUES
    assert DEFAULT.queue_keys == QUEUE_KEYS
    assert (DEFAULT.doorbell, DEFAULT.tiled, DEFAULT.workers_key) == (DOORBELL, TILED, WORKERS_KEY)
    image, options = b"image", DetectOptions()
    assert fingerprint(image, options, "normal") == fingerprint(image, options, "normal", "")
    assert fingerprint(image, options, "normal", "x") != fingerprint(image, options, "normal", "y")


@pytest.mark.parametrize(
    "name", ["x:y", "X", "x ", "x\n", "../x", "x/y", "*", "x" * (NAME_MAX + 1), ".x", "x.onnx", "é"]
)
def test_what_is_no_name_makes_no_key(name: str) -> None:
    """Names come from requests, and become keys."""
    with pytest.raises(ValueError, match="no name"):
        Pool(name)
    assert pools_in([name.encode(), b"\xff", b"", None, b"fine"]) == [Pool("fine")]


# -- each its own --------------------------------------------------------------------------


def test_workers_take_from_their_own_queues_alone(hall: Hall) -> None:
    """By priority, and their outcomes lie in the registries of these queues."""
    hall.put("a", "b")
    hall.put("h", priority="high")
    hall.put("l", priority="low")
    hall.put("other", pool=DEFAULT)
    mine, default = hall.worker("m", MINE), hall.worker("d", DEFAULT)
    assert (hall.redis.llen(MINE.doorbell), hall.redis.llen(DOORBELL)) == (4, 1)
    taken = mine.take(8)
    assert ids(taken) == ["h", "a", "b", "l"]
    assert {job.queue for job in taken} == set(MINE.queues.values())
    assert mine.take(8) == []
    assert ids(default.take(8)) == ["other"]
    assert all(mine.finish([(job, RESULT) for job in taken], 0.1))
    assert {hall.state(job.job_id) for job in taken} == {"finished"}
    assert hall.redis.zcard("rq:finished:detections.mine") == 2
    assert hall.redis.zcard("rq:finished:detections") == 0
    assert hall.bytes() == 0


def test_one_is_alone_among_its_own(hall: Hall) -> None:
    """What another model's workers do says nothing of this one's."""
    hall.put("other", "more", pool=DEFAULT)
    hall.worker("d", DEFAULT).take(1)
    hall.put("a")
    mine = hall.worker("m", MINE)
    (taken,) = mine.take(1)
    assert taken.alone
    assert mine.look(taken)
    assert taken.alone


def test_what_a_dead_worker_held_goes_to_its_own(hall: Hall) -> None:
    """Back to the front of the queue that it came from, by a worker of the same model."""
    hall.put("a", "b")
    (held,) = hall.worker("m", MINE).take(1)
    hall.redis.zadd(f"rq:wip:{held.queue}", {f"a:{held.execution_id}": 1.0}, xx=True)
    assert hall.worker("d", DEFAULT).recover() == (0, 0)
    assert hall.worker("n", MINE).recover() == (1, 0)
    assert hall.waiting(MINE) == ["a", "b"]
    assert hall.waiting(DEFAULT) == []


def test_images_can_be_withdrawn_from_every_queue(hall: Hall) -> None:
    """One that waits leaves its queue, its client's turns and the bytes; of one that is worked on
    the outcome is dropped."""
    hall.put("a0", "a1", client="a", size=500)
    hall.put("low", priority="low", size=500)
    assert hall.withdraw("a1") == hall.withdraw("low") == "queued"
    assert (hall.waiting(MINE), hall.waiting(MINE, "low"), hall.bytes()) == (["a0"], [], 500)
    assert hall.redis.zscore(ROUNDS.format("detections.mine"), "a") == 1
    assert hall.redis.zrange("rq:canceled:detections.mine", 0, -1) == [b"a1"]
    mine = hall.worker("m", MINE)
    (taken,) = mine.take(1)
    assert hall.withdraw("a0") == "started"
    assert not mine.look(taken)
    mine.finish([(taken, RESULT)], 0.1)
    assert [hall.state(job_id) for job_id in ("a0", "a1", "low")] == ["cancelled"] * 3
    assert not hall.redis.exists(*(image_key(job_id) for job_id in ("a0", "a1", "low")))


@pytest.mark.parametrize(
    "origin", ["rq:queues", "damoscope-notices", "detections:x", "detections*"]
)
def test_a_forged_queue_is_not_touched(hall: Hall, origin: str) -> None:
    """Who can write to Redis can say that a job came from anywhere."""
    hall.put("a")
    hall.redis.hset("rq:job:a", "origin", origin)
    hall.redis.rpush(f"rq:queue:{origin}", "a")
    assert hall.withdraw("a") == "queued"
    assert hall.redis.lrange(f"rq:queue:{origin}", 0, -1) == [b"a"]


def test_clients_take_turns_in_each_queue(hall: Hall) -> None:
    """An image in tiles takes as many of them as it is images' work, there and nowhere else."""
    hall.put("a0", client="a", tiles="3x1")
    hall.put("a1", "a2", client="a")
    hall.put("b0", "b1", client="b")
    hall.put("c0", client="a", pool=DEFAULT)
    assert hall.waiting(MINE) == ["a0", "b0", "b1", "a1", "a2"]
    assert hall.redis.hkeys(MINE.tiled) == [b"a0"]
    assert not hall.redis.exists(TILED)


def test_what_is_none_of_ours_is_mended_in_each_queue(hall: Hall) -> None:
    """Values of another type under a pool's names cost no image anything."""
    mine = hall.worker("m", MINE)
    for key in (MINE.doorbell, "rq:wip:detections.mine", MINE.queue_keys[0]):
        hall.redis.set(key, "x")
    mine.mend()
    hall.put("a")
    assert ids(mine.take(1)) == ["a"]


# -- nobody keeps another waiting ----------------------------------------------------------


def test_a_full_queue_refuses_nobody_elsewhere(hall: Hall) -> None:
    """Each has its own places, and what is ahead is counted among its own."""
    hall.settings["queue_max"] = 20
    hall.throughput = {DEFAULT: Throughput(10.0, 1), MINE: Throughput(10.0, 1)}
    hall.put(*(f"d{number}" for number in range(20)), pool=DEFAULT)
    hall.worker("d", DEFAULT).take(5)
    hall.put(*(f"e{number}" for number in range(5)), pool=DEFAULT)
    with pytest.raises(errors.Overloaded, match="the queue is full"):
        hall.put("more", pool=DEFAULT)
    hall.put("a", ttl_s=1.0)
    hall.put("b", ttl_s=1.0)
    with pytest.raises(errors.Overloaded, match="20 images waiting"):
        hall.put(*(f"m{number}" for number in range(20)))


def test_memory_is_bounded_over_all_queues(hall: Hall) -> None:
    """All images that wait take the same memory; where none of a model's waits one may, whatever
    waits for others."""
    hall.settings["queue_mb"] = 1
    hall.put("d0", "d1", pool=DEFAULT, size=MB // 2)
    with pytest.raises(errors.Overloaded, match="1 MB of images"):
        hall.put("d2", pool=DEFAULT, size=1000)
    hall.put("a", size=1000)
    with pytest.raises(errors.Overloaded, match="1 MB of images"):
        hall.put("b", size=1000)
    assert hall.bytes() == MB + 1000
    for pool in (DEFAULT, MINE):
        hall.redis.delete(WAITING_BYTES)  # as it expires; whoever comes counts all
        with pytest.raises(errors.Overloaded):
            hall.put("c", pool=pool, size=1000)
        assert hall.bytes() == MB + 1000


def test_refusals_are_reckoned_for_each() -> None:
    """What a frontend keeps in mind of one queue says nothing of another; it forgets those that
    nobody has asked for in a long time."""
    fast, slow = Throughput(100.0, 1), Throughput(1.0, 1)
    admissions = Admissions({DEFAULT: fast, MINE: slow}.get)
    for pool in (DEFAULT, MINE):
        admissions.of(pool).told("a", "normal", ahead=10, held=1, full=False)
    admissions.of(DEFAULT).early("a", "normal", 2.0)
    with pytest.raises(errors.Overloaded):
        admissions.of(MINE).early("a", "normal", 2.0)
    for number in range(10 * POOLS_MAX):
        admissions.of(Pool(f"m{number}"))
    assert len(admissions._each) == POOLS_MAX + 1


# -- who is there --------------------------------------------------------------------------


def test_a_look_at_all_of_them(hall: Hall) -> None:
    """Depths and workers, each by its own; what names no model among the pools is passed over."""
    hall.worker("m", MINE)
    hall.worker("d", DEFAULT)
    hall.redis.hset("rq:worker:m", "damoscope_pace_s", "0.5")
    hall.redis.zadd(POOLS, {"../evil": 9e9, "x:y": 9e9, "empty": 1.0})
    hall.put("a", "b")
    hall.put("c", priority="low")
    found = hall.census()
    assert found.pools == (Pool("empty"), MINE)
    depths = {name: depth for name, depth in found.depth.items() if depth}
    assert depths == {"detections.mine": 2, "detections-low.mine": 1}
    assert len(found.depth) == len(found.oldest_age_s) == 9
    assert found.oldest_age_s["detections.mine"] >= found.oldest_age_s["detections"] == 0.0
    assert [worker.name for worker in found.workers_of(MINE)] == ["m"]
    assert [worker.name for worker in found.workers_of(DEFAULT)] == ["d"]
    assert found.workers_of(Pool("empty")) == ()
    assert found.images_per_s(MINE) == pytest.approx(2.0)
    assert found.images_per_s() is None
    assert (found.pool_of("mine"), found.pool_of(""), found.pool_of("other")) == (
        MINE, DEFAULT, None,
    )  # fmt: skip


def test_pools_of_another_type(hall: Hall) -> None:
    """Somebody else's value in their place costs nothing but them."""
    hall.redis.set(POOLS, "x")
    hall.worker("d", DEFAULT)
    found = hall.census()
    assert (found.pools, len(found.workers)) == ((), 1)


def test_there_are_so_many_and_no_more(hall: Hall) -> None:
    """A worker of one more is told what to do. Those whose workers went a day ago make room."""
    now_s = 1e9
    announce(hall.redis, DEFAULT, now_s)
    assert not hall.redis.exists(POOLS)
    for number in range(POOLS_MAX):
        announce(hall.redis, Pool(f"m{number}"), now_s)
    announce(hall.redis, Pool("m0"), now_s + 60)
    with pytest.raises(errors.ConfigurationError, match="DAMOSCOPE_SERVES=more: 16 models"):
        announce(hall.redis, Pool("more"), now_s + POOL_KEPT_S - 1)
    announce(hall.redis, Pool("more"), now_s + POOL_KEPT_S + 1)
    assert hall.redis.zrange(POOLS, 0, -1) == [b"m0", b"more"]
    assert POOLS_MAX == MODELS_BESIDE_MAX
