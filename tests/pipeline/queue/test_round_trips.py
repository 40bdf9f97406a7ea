"""Commands of concurrent callers in common round trips, against a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ResponseError

from pipeline.queue.round_trips import TRIPS, RoundTrips
from tests.servers import RedisProcess


def run(url: str, work: Callable[[Redis, RoundTrips], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0))
        try:
            return await work(redis, RoundTrips(redis))
        finally:
            await redis.aclose()

    return asyncio.run(main())


def test_each_caller_gets_its_own_answer(server: RedisProcess) -> None:
    """Hundreds of commands at once: the answers are those of their callers."""

    async def work(redis: Redis, together: RoundTrips) -> list[Any]:
        await asyncio.gather(*(together.run("SET", f"n{i}", i) for i in range(500)))
        return await asyncio.gather(*(together.run("GET", f"n{i}") for i in range(500)))

    assert run(server.url, work) == [str(i).encode() for i in range(500)]


def test_few_round_trips(server: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for while others are under way goes out in one."""
    sizes: list[int] = []
    original = Redis.pipeline

    def pipeline(self: Redis, **options: Any) -> Any:
        pipe = original(self, **options)
        execute = pipe.execute

        async def counted(**given: Any) -> Any:
            sizes.append(len(pipe))
            return await execute(**given)

        pipe.execute = counted
        return pipe

    monkeypatch.setattr(Redis, "pipeline", pipeline)

    async def caller(together: RoundTrips) -> None:
        for _ in range(10):
            await together.run("PING")

    async def work(redis: Redis, together: RoundTrips) -> None:
        await asyncio.gather(*(caller(together) for _ in range(40)))

    run(server.url, work)
    assert sum(sizes) == 400
    assert len(sizes) <= 10 * TRIPS + TRIPS


def test_an_error_is_its_callers_alone(server: RedisProcess) -> None:
    """A command that Redis refuses leaves the others of its round trip as they are."""

    async def work(redis: Redis, together: RoundTrips) -> list[Any]:
        await together.run("SET", "text", "abc")
        return await asyncio.gather(
            together.run("PING"), together.run("INCR", "text"), together.run("GET", "text"),
            return_exceptions=True,
        )  # fmt: skip

    first, second, third = run(server.url, work)
    assert (first, third) == (True, b"abc")
    assert isinstance(second, ResponseError)


def test_a_caller_that_gives_up(server: RedisProcess) -> None:
    """The others of its round trip get their answers."""

    async def work(redis: Redis, together: RoundTrips) -> Any:
        given_up = asyncio.create_task(together.run("PING"))
        other = asyncio.create_task(together.run("ECHO", "here"))
        await asyncio.sleep(0)
        given_up.cancel()
        return await other

    assert run(server.url, work) == b"here"


def test_redis_away_and_back(server: RedisProcess) -> None:
    """All callers are told, and later ones are served again."""

    async def work(redis: Redis, together: RoundTrips) -> tuple[list[Any], Any]:
        await together.run("PING")
        await asyncio.to_thread(server.stop)
        away = await asyncio.gather(
            *(together.run("PING") for _ in range(3)), return_exceptions=True
        )
        await asyncio.to_thread(server.start)
        return away, await together.run("ECHO", "back")

    away, back = run(server.url, work)
    assert [type(error) for error in away] == [ConnectionError] * 3
    assert back == b"back"
