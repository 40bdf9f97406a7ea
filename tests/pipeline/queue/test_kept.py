"""pipeline.queue.kept: pictures in a real Redis, within their bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from pipeline.queue import kept
from pipeline.queue.kept import KeptPictures, PictureKeeper, kept_key, room_of
from pipeline.queue.keys import KEPT_INDEX, KEPT_KEYS, KEPT_TOTAL
from tests.servers import RedisProcess, eventually, in_redis_file

TRACE, OTHER = "a1" * 16, "b2" * 16
#: A picture of which two fit into a megabyte, with what they take beside it.
HALF = b"\xff\xd8\xff" + bytes(440_000)
ROOM = room_of(len(HALF))


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


def keeper(redis: Redis, hours: float = 1, most_mb: int = 1, **more: Any) -> PictureKeeper:
    return PictureKeeper(redis, hours=hours, most_mb=most_mb, **more)


def job(number: int) -> str:
    return f"{number:032x}"


def ask(server: RedisProcess, look: Callable[[KeptPictures], Coroutine[Any, Any, Any]]) -> Any:
    """As a frontend does."""

    async def asked() -> Any:
        async with AsyncRedis.from_url(server.url) as redis:
            return await look(KeptPictures(redis))

    return asyncio.run(asked())


def there(redis: Redis, *jobs: int) -> list[int]:
    return [each for each in jobs if redis.exists(kept_key(TRACE, job(each)))]


def test_a_picture_is_kept_for_its_time(server: RedisProcess, redis: Redis) -> None:
    """A frontend reads what a worker has kept, under both ids and no other, until it expires."""
    assert keeper(redis, hours=2).keep(TRACE, job(1), b"\xff\xd8\xffpicture")
    assert ask(server, lambda kept: kept.picture(TRACE, job(1))) == b"\xff\xd8\xffpicture"
    assert ask(server, lambda kept: kept.picture(OTHER, job(1))) is None
    assert ask(server, lambda kept: kept.which(TRACE, [job(1), job(2)])) == {job(1)}
    assert ask(server, lambda kept: kept.which(TRACE, [])) == set()
    assert 7100 < redis.ttl(kept_key(TRACE, job(1))) <= 7200


@pytest.mark.parametrize("bad", ["", "x", "A1" * 16, f"{TRACE}:", "*", f"../{TRACE}", "a\n" * 16])
def test_ids_that_are_none(server: RedisProcess, redis: Redis, bad: str) -> None:
    """Neither kept nor looked for."""
    assert not keeper(redis).keep(bad, job(1), b"x")
    assert not keeper(redis).keep(TRACE, bad, b"x")
    assert redis.dbsize() == 0
    assert ask(server, lambda kept: kept.picture(bad, job(1))) is None
    assert ask(server, lambda kept: kept.picture(TRACE, bad)) is None
    assert ask(server, lambda kept: kept.which(bad, [job(1)])) == set()


@pytest.mark.parametrize("how", ["purge", "others"])
def test_what_goes_while_it_comes(redis: Redis, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A picture whose entry goes before it is there itself, by a purge or for newer ones, is not
    left behind: no picture is without an entry, which is what the limit counts."""
    make_room = PictureKeeper._make_room

    def and_then(self: PictureKeeper, *coming: str | int) -> bytes:
        entry = make_room(self, *coming)
        monkeypatch.setattr(PictureKeeper, "_make_room", make_room)
        if how == "purge":
            assert kept.purge(redis) == 0
        else:
            assert all(keeper(redis).keep(TRACE, job(number), HALF) for number in (2, 3))
        return entry

    monkeypatch.setattr(PictureKeeper, "_make_room", and_then)
    assert not keeper(redis).keep(TRACE, job(1), HALF)
    assert there(redis, 1, 2, 3) == ([] if how == "purge" else [2, 3])
    assert redis.zcard(KEPT_INDEX) == (0 if how == "purge" else 2)


def test_the_oldest_make_room(redis: Redis) -> None:
    """All of them take so many bytes and no more, whoever keeps them; one that is larger than that
    costs none of the others."""
    for number in range(1, 6):
        assert keeper(redis).keep(TRACE, job(number), HALF)
    assert there(redis, 1, 2, 3, 4, 5) == [4, 5]
    assert redis.zcard(KEPT_INDEX) == 2
    assert int(redis.hget(KEPT_TOTAL, "bytes") or 0) == 2 * ROOM
    assert not keeper(redis).keep(TRACE, job(6), 3 * HALF)
    assert there(redis, 4, 5, 6) == [4, 5]


@pytest.mark.parametrize("size", [1, 100, 8_300, 9_703, 100_000, 300_000, 5_300_000])
def test_what_it_takes(redis: Redis, size: int) -> None:
    """A picture is counted as what Redis takes for it, which is more than its bytes."""
    assert keeper(redis, most_mb=8).keep(TRACE, job(1), bytes(size))
    told = int(redis.hget(KEPT_TOTAL, "bytes") or 0)
    taken = redis.memory_usage(kept_key(TRACE, job(1)))
    assert isinstance(taken, int)
    assert size < taken <= told < 1.25 * size + 1024


def test_what_has_expired_takes_no_room(redis: Redis) -> None:
    """Its bytes are free as soon as its time is over, and its name is gone from the index."""
    keeper(redis, hours=1 / 3600).keep(TRACE, job(1), HALF)
    redis.zadd(KEPT_INDEX, dict.fromkeys(redis.zrange(KEPT_INDEX, 0, -1), 1))  # long ago
    keeper(redis).tidy()
    assert redis.zcard(KEPT_INDEX) == 0
    assert redis.hget(KEPT_TOTAL, "bytes") == b"0"


def test_a_shorter_time_is_for_all(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker kept that was to keep it for longer goes when it is as old as pictures may be
    now, at once where it is older than that; nothing is kept for longer than it was to be."""
    monkeypatch.setattr(kept, "AT_ONCE", 2)
    for number in range(1, 6):
        keeper(redis, hours=24, most_mb=8).keep(TRACE, job(number), HALF)
    keeper(redis, hours=1, most_mb=8).keep(TRACE, job(6), HALF)
    (old,) = (each for each in redis.zrange(KEPT_INDEX, 0, -1) if job(5).encode() in each)
    name, kept_s, size = old.decode().rsplit(":", 2)
    redis.zrem(KEPT_INDEX, old)
    redis.zadd(KEPT_INDEX, {f"{name}:{int(kept_s) - 7000}:{size}": int(kept_s) + 20 * 3600})
    redis.zadd(KEPT_INDEX, {"x": 2**40})  # none of ours
    mine = keeper(redis, hours=2, most_mb=8)
    mine.tidy()
    assert there(redis, *range(1, 7)) == [1, 2, 3, 4, 5, 6]
    left = [redis.ttl(kept_key(TRACE, job(number))) for number in range(1, 7)]
    assert all(7100 < each <= 7200 for each in left[:4])
    assert 0 < left[4] <= 200
    assert 3500 < left[5] <= 3600
    keeper(redis, hours=1, most_mb=8).tidy()
    assert there(redis, *range(1, 7)) == [1, 2, 3, 4, 6]
    mine.tidy()
    assert int(redis.hget(KEPT_TOTAL, "bytes") or 0) == 5 * ROOM
    *ours, (none, _) = redis.zrange(KEPT_INDEX, 0, -1, withscores=True)
    assert none == b"x"
    assert len(ours) == 5
    assert all(until_s <= int(kept_s) + 3700 for _, until_s in ours)


def test_images_come_first(redis: Redis) -> None:
    """Where Redis is nearly full, pictures make way, before it refuses an image."""
    mine = keeper(redis, most_mb=8)
    for number in range(1, 9):
        mine.keep(TRACE, job(number), HALF)
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", int((used - 2**20) / kept.FULL))
    try:
        mine.tidy()
        assert 0 < len(there(redis, *range(1, 9))) <= 6
        redis.config_set("maxmemory", 1)  # full: nothing more is kept, and what is there can go
        mine.tidy()
        assert there(redis, *range(1, 9)) == []
        assert not mine.keep(TRACE, job(10), b"x")
    finally:
        redis.config_set("maxmemory", 0)
    mine.tidy()
    assert mine.keep(TRACE, job(11), b"x")


def test_what_is_none_of_ours(server: RedisProcess, redis: Redis) -> None:
    """Whatever stands under these names costs itself alone: it is removed and counted, and the
    bytes are counted anew."""
    counted: list[int] = []
    mine = keeper(redis, tally=lambda _, count: counted.append(count))
    redis.lpush(KEPT_INDEX, "x")
    redis.set(KEPT_TOTAL, "x")
    redis.set(kept_key(TRACE, job(1)), "x")
    assert ask(server, lambda kept: kept.picture(TRACE, job(1))) is None
    assert mine.keep(TRACE, job(1), HALF)
    assert sum(counted) == 2
    redis.hset(KEPT_TOTAL, "bytes", "many")
    redis.zadd(KEPT_INDEX, {"x": 1, "a1:b2:3": 2})
    assert mine.keep(TRACE, job(2), HALF)
    assert int(redis.hget(KEPT_TOTAL, "bytes") or 0) == 2 * ROOM
    assert sum(counted) == 4
    assert there(redis, 1, 2) == [1, 2]


def test_purge(redis: Redis) -> None:
    """All, or those of one trace, or those that are older; what is left is counted as before."""
    mine = keeper(redis, most_mb=8)
    for number in (1, 2, 3):
        mine.keep(TRACE, job(number), HALF)
    mine.keep(OTHER, job(4), HALF)
    old = next(each for each in redis.zrange(KEPT_INDEX, 0, -1) if job(2).encode() in each)
    redis.zrem(KEPT_INDEX, old)
    name, _, size = old.decode().rsplit(":", 2)
    redis.zadd(KEPT_INDEX, {f"{name}:1000:{size}": 2**40})  # kept in 1970
    assert kept.purge(redis, older_s=3600) == 1
    assert there(redis, 1, 2, 3) == [1, 3]
    assert kept.purge(redis, trace_id=OTHER) == 1
    assert kept.purge(redis, trace_id=OTHER) == 0
    mine.tidy()
    assert int(redis.hget(KEPT_TOTAL, "bytes") or 0) == 2 * ROOM
    redis.hset(f"{KEPT_KEYS}{TRACE}:{job(9)}", "picture", "x")  # in no index
    assert kept.purge(redis) == 3
    assert list(redis.scan_iter(f"{KEPT_KEYS}*")) == []
    assert redis.zcard(KEPT_INDEX) == 0


def test_purged_pictures_leave_the_disk(tmp_path: Path) -> None:
    """Redis' append-only file has them until it is written anew, which is asked for."""
    marked = b"\xff\xd8\xff" + b"a picture to be forgotten" * 40
    with RedisProcess(tmp_path) as server:
        keeper(server.client).keep(TRACE, job(1), marked)
        eventually(lambda: in_redis_file(marked, tmp_path), "the picture to be written")
        kept.purge(server.client)
        assert kept.rewrite_files(server.client)
        eventually(lambda: not in_redis_file(marked, tmp_path), "it to be gone")
