"""One, two, four and eight hosts with workers, two frontends, and a Redis that is lost between."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.fullstack.many_hosts import FRONTENDS, REDISES, WORKERS, Cluster
from tests.integration import pictures
from tests.servers import eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
#: Clients that send at the same time.
AT_ONCE = 16

#: A dozen processes begin. Not beside a browser: Chromium gives up what it loads while network
#: interfaces come and go.
pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not os.environ.get("CI"):
        if os.geteuid() != 0:
            pytest.skip("NOT PROVEN HERE: many hosts; needs root for network namespaces")
        if shutil.which("redis-server") is None:
            pytest.skip("the Debian package redis-server is missing: it has Sentinel")
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def send(client: httpx.Client, count: int, timeout: float = 60) -> list[httpx.Response]:
    """So many images through nginx, at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(
            lambda seed: client.post(DETECT, content=pictures.jpeg(seed=seed), headers=JPEG,
                                     params={"timeout": timeout}),
            range(count),
        ))  # fmt: skip


def test_hosts_are_added(cluster: Cluster) -> None:
    """With 1, 2, 4 and 8 of them, each worker is counted by both frontends and does its part."""
    with cluster.client() as client:
        for count in (1, 2, 4, 8):
            for host in WORKERS[:count]:
                if host not in cluster.processes:
                    cluster.start_worker(host)
            for frontend in FRONTENDS:
                eventually(lambda: cluster.workers_at(frontend) == count, f"{count} at {frontend}")  # noqa: B023
            worked: set[str] = set()

            def all_have_worked() -> bool:
                answered = send(client, 4 * count)  # noqa: B023
                assert [each.text for each in answered if each.status_code != 200] == []
                worked.update(answer.json()["worker"] for answer in answered)  # noqa: B023
                return len(worked) == count  # noqa: B023

            eventually(all_have_worked, f"each of {count} workers to have done some")


def test_either_frontend(cluster: Cluster) -> None:
    """What was sent to one is told by both: the job, its result, its page, its picture."""
    with cluster.client() as client:
        answer = client.post(
            DETECT, content=pictures.phone(), headers=JPEG | {"prefer": "respond-async"}
        )
        assert answer.status_code == 202
        job = answer.headers["location"]
    for host in FRONTENDS:
        with cluster.client(host) as client:
            eventually(lambda: client.get(job).json()["status"] == "finished", host)
            result = client.get(job).json()["result"]
            page = client.get(f"/pages/results/{result['job_id']}")
            assert page.status_code == 200
            assert result["trace_id"] in page.text
            picture = f"/api/v1/traces/{result['trace_id']}/images/{result['job_id']}"
            eventually(lambda: client.get(picture).status_code == 200, "its picture")  # noqa: B023
            assert client.get("/").status_code == 200


def test_redis_is_lost(cluster: Cluster) -> None:
    """The cable of the master's host is pulled while images come through both frontends: each is
    answered, or told that it is not; the replica is promoted, and all work on as they are. Back
    again, the old master follows the new one."""
    pids = {name: process.pid for name, process in cluster.processes.items()}
    seen: Counter[int] = Counter()
    with cluster.client() as client:

        def well() -> bool:
            answered = send(client, AT_ONCE, timeout=20)
            seen.update(answer.status_code for answer in answered)
            return {answer.status_code for answer in answered} == {200}

        assert {answer.status_code for answer in send(client, AT_ONCE)} == {200}
        cluster.network.cut(REDISES[0])
        assert not well() or cluster.redis(REDISES[1]).role()[0] == b"master"
        eventually(well, "images after the failover")
        assert set(seen) <= {200, 503, 504}, seen
        assert cluster.redis(REDISES[1]).role()[0] == b"master"
        for host in FRONTENDS:
            eventually(lambda: cluster.workers_at(host) == len(WORKERS), "all workers")  # noqa: B023
        cluster.network.mend(REDISES[0])
        old = cluster.redis(REDISES[0])
        eventually(lambda: old.role()[0] == b"slave", "the old master to follow")
        eventually(well, "images once more")
    assert {name: each.pid for name, each in cluster.processes.items() if each.running} == pids


def test_a_frontend_is_killed(cluster: Cluster) -> None:
    """Of what it had in hand the clients are told; everything after goes to the other."""
    with cluster.client() as client:
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send, client, 4 * AT_ONCE)
            cluster.processes[FRONTENDS[0]].popen.kill()
            told = Counter(answer.status_code for answer in sending.result())
        assert set(told) <= {200, 502}, told
        after = Counter(answer.status_code for answer in send(client, 2 * AT_ONCE))
        assert set(after) == {200}, after
        assert client.get("/").status_code == 200
