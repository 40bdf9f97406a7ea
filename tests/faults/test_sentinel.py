"""Redis behind three real Sentinels: `redis+sentinel://`."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from redis.exceptions import RedisError

from pipeline.connection import connect, connect_async, explain
from pipeline.settings import Settings
from tests.faults.sentinels import PASSWORD, SENTINELS_PASSWORD, Sentinels
from tests.integration import pictures
from tests.servers import Service, eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    if shutil.which("redis-server") is None and not os.environ.get("CI"):
        pytest.skip("the Debian package redis-server is missing: it has Sentinel")
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as running:
        yield running


def settings(url: str) -> Settings:
    return Settings(redis_url=SecretStr(url))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "wrong"}, "Redis refuses our user or password"),
        ({"theirs": "wrong"}, "the Sentinels refuse our user or password"),
        ({"service": "nothing"}, "the Sentinels know no master of this service"),
    ],
)
def test_what_is_wrong_is_named(sentinels: Sentinels, wrong: dict[str, str], said: str) -> None:
    """A wrong password, of Redis or of the Sentinels, and a service that they do not know."""
    url = sentinels.url(**wrong)

    async def ask() -> None:
        async with connect_async(settings(url)) as client:
            await client.ping()

    with pytest.raises(RedisError) as caught, connect(settings(url)) as client:
        client.ping()
    assert explain(caught.value) == said
    with pytest.raises(RedisError) as caught:
        asyncio.run(ask())
    assert explain(caught.value) == said


def test_no_sentinel_answers() -> None:
    """None of those that are named is there."""
    url = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/images"
    with pytest.raises(RedisError) as caught, connect(settings(url)) as client:
        client.ping()
    assert explain(caught.value) == "no Sentinel answers"


def test_a_failover(sentinels: Sentinels, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The master is killed while images come: each request is answered, by a result or by a 503 or
    504 that says so; all is well once the Sentinels have promoted the replica, with no process
    restarted; no password is said anywhere."""
    env = {"REDIS_URL": sentinels.url(), "DAMOSCOPE_RATE_LIMIT": "1000/second",
           "DAMOSCOPE_LOG_LEVEL": "debug"}  # fmt: skip
    with (
        Service(tmp_path / "home", **env).wait_until_ready() as service,
        service.client() as client,
    ):
        pids = {process.pid for process in service.family()}

        def status() -> int:
            answer = client.post(
                DETECT, content=pictures.jpeg(), headers=JPEG, params={"timeout": 10}
            )
            return answer.status_code

        assert [status() for _ in range(5)] == [200] * 5
        with connect(settings(sentinels.url())) as redis:
            redis.ping()
            master = redis.connection_pool.get_master_address()[1]  # type: ignore[attr-defined]
        sentinels.servers[master].popen.kill()
        seen: list[int] = []
        eventually(lambda: seen.append(status()) or seen[-1] == 200, "an image after the failover")  # type: ignore[func-returns-value]
        assert set(seen) <= {200, 503, 504}, seen
        assert [status() for _ in range(10)] == [200] * 10
        eventually(lambda: client.get("/readyz").status_code == 200, "ready")
        eventually(lambda: not alerts_problem(client), "the watcher to go on")
        assert {process.pid for process in service.family()} == pids, service.output
        for secret in (PASSWORD, SENTINELS_PASSWORD):
            assert secret not in service.output
            assert secret not in "".join(" ".join(each.cmdline()) for each in service.family())


def alerts_problem(client: httpx.Client) -> str:
    answer = client.get("/api/v1/alerts")
    return str(answer.json()["problem"]) if answer.status_code == 200 else answer.text
