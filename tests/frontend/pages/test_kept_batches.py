"""frontend.pages.kept_batches: what was given together, in a real Redis, within its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from frontend.detection import DetectionService
from frontend.identity.principal import ANONYMOUS, Principal
from frontend.pages import kept_batches
from frontend.pages.batches import Batch
from frontend.pages.detect_one import Outcome
from frontend.pages.kept_batches import INDEX, KEYS, KeptBatches
from frontend.pages.uploads import Upload
from pipeline.errors import InvalidImage, NotFound, Unavailable
from pipeline.job import DetectOptions, JobState
from tests.servers import RedisProcess

MINE, TTL_S = "browser " + "a" * 32, 3600
TRACE = "c3" * 16


class Gone:
    """Stands for the service, which has no result any more."""

    async def state(self, job_id: str, who: Principal) -> JobState:
        raise NotFound(f"no job {job_id}")


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


def frontend(server: RedisProcess, use: Callable[[KeptBatches], Awaitable[Any]]) -> Any:
    """Do something in a process that has seen nothing of it before."""

    async def used() -> Any:
        async with AsyncRedis.from_url(server.url) as redis:
            return await use(KeptBatches(redis, cast(DetectionService, Gone()), TTL_S))

    return asyncio.run(used())


def batch(count: int = 3, name: str = "a.jpg", owner: str = MINE) -> Batch:
    """Images of which all but the first were refused, the last of them first."""
    made = Batch(owner, DetectOptions(iou_threshold=0.4), [None] * count, "phones")
    for place in range(count - 1, 0, -1):
        error = InvalidImage("this is no image")
        made.outcomes[place] = Outcome(Upload(owner, "a", f"{place}{name}"), TRACE, error=error)
        made.done.append(place)
    return made


def test_another_frontend(server: RedisProcess, redis: Redis) -> None:
    """It finds the same, for the same owner alone, whose name is not in Redis."""
    kept = batch()
    frontend(server, lambda batches: batches.keep(kept, False))
    found = frontend(server, lambda batches: batches.find(kept.id, MINE))
    assert (found.count, found.model, found.finished) == (3, "phones", False)
    assert found.options == kept.options
    assert [(image.place, image.name) for image in found.images] == [(2, "2a.jpg"), (1, "1a.jpg")]
    again = frontend(server, lambda b: b.outcome(found, found.images[0], ANONYMOUS))
    assert isinstance(again.error, InvalidImage)
    assert (str(again.error), again.trace_id, again.name) == ("this is no image", TRACE, "2a.jpg")
    for other in ("browser " + "b" * 32, "principal a", ""):
        with pytest.raises(NotFound):
            frontend(server, lambda batches, who=other: batches.find(kept.id, who))
    assert MINE.split()[1].encode() not in redis.get(KEYS + kept.id)
    assert TTL_S - 60 < redis.ttl(KEYS + kept.id) <= TTL_S
    frontend(server, lambda batches: batches.keep(kept, True))
    assert frontend(server, lambda batches: batches.find(kept.id, MINE)).finished


def test_nobody_without_a_name(server: RedisProcess, redis: Redis) -> None:
    """Browsers without a name share nothing with one another."""
    kept = batch(owner="")
    frontend(server, lambda batches: batches.keep(kept, True))
    with pytest.raises(NotFound):
        frontend(server, lambda batches: batches.find(kept.id, ""))


def test_a_frontend_that_died(server: RedisProcess, redis: Redis) -> None:
    """What was not kept for a while is not under way: its page shows what was done."""
    kept = batch()
    frontend(server, lambda batches: batches.keep(kept, False))
    redis.expire(KEYS + kept.id, TTL_S - 60)
    assert frontend(server, lambda batches: batches.find(kept.id, MINE)).finished


def test_a_result_that_is_gone(server: RedisProcess, redis: Redis) -> None:
    """Its card says so, and leads to its trace."""
    kept = batch()
    frontend(server, lambda batches: batches.keep(kept, True))
    found = frontend(server, lambda batches: batches.find(kept.id, MINE))
    found.images[0].job = "d" * 32
    told = frontend(server, lambda b: b.outcome(found, found.images[0], ANONYMOUS))
    assert isinstance(told.error, NotFound)
    assert told.trace_id == TRACE


def test_so_many(server: RedisProcess, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest make room; one that is too large is not kept."""
    monkeypatch.setattr(kept_batches, "MOST", 3)
    five = [batch() for _ in range(5)]
    for each in five:
        frontend(server, lambda batches, each=each: batches.keep(each, True))
    assert set(redis.keys(KEYS + "*")) == {(KEYS + each.id).encode() for each in five[2:]}
    assert redis.zcard(INDEX) == 3
    large = batch(1000, name="图" * 190)
    frontend(server, lambda batches: batches.keep(large, True))
    usual = batch(1000, name="-usual-photograph.jpg")
    frontend(server, lambda batches: batches.keep(usual, True))
    assert [redis.exists(KEYS + each.id) for each in (large, usual)] == [0, 1]


def test_what_is_no_batch(server: RedisProcess, redis: Redis) -> None:
    """What cannot be read is none."""
    for said in (b"", b"{}", b"\xff", b'{"id": "x"}'):
        redis.set(KEYS + "0" * 32, said)
        with pytest.raises(NotFound):
            frontend(server, lambda batches: batches.find("0" * 32, MINE))


def test_without_redis(tmp_path: Any) -> None:
    """A batch goes on; its address says that the service is away."""

    async def use() -> None:
        async with AsyncRedis(unix_socket_path=str(tmp_path / "none")) as redis:
            batches = KeptBatches(redis, cast(DetectionService, Gone()), TTL_S)
            await batches.keep(batch(), True)
            with pytest.raises(Unavailable):
                await batches.find("0" * 32, MINE)

    asyncio.run(use())
