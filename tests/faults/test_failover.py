"""Redis that is away for a while, emptied, or replaced by its replica behind one address."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import httpx
import pytest
from redis import Redis
from rq.suspension import resume

from tests.faults.forwarder import Forwarder
from tests.integration import pictures
from tests.servers import ConfiguredRedis, Service, answers, eventually, free_port
from tests.suspension import suspend_workers

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
ASYNC = JPEG | {"prefer": "respond-async"}
JOBS = 20


def accepted(client: httpx.Client) -> list[str]:
    """Addresses of jobs that were taken and are not waited for. A 503 asks to come again: the
    frontend may find a connection of before."""

    def take() -> str | None:
        answer = client.post(DETECT, content=pictures.jpeg(), headers=ASYNC)
        assert answer.status_code in (202, 503), answer.text
        return answer.headers["location"] if answer.status_code == 202 else None

    return [str(eventually(take, "a job that is taken")) for _ in range(JOBS)]


def states(client: httpx.Client, jobs: list[str]) -> Counter[str]:
    """What has become of jobs; `lost` are those that nobody knows."""
    found = [client.get(job) for job in jobs]
    return Counter(
        answer.json()["status"] if answer.status_code == 200 else "lost" for answer in found
    )


def answered(client: httpx.Client) -> bool:
    answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG, params={"timeout": 10})
    assert answer.status_code in (200, 503, 504), answer.text
    return answer.status_code == 200


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on PATH")
def test_redis_is_replaced_and_emptied(tmp_path: Path) -> None:
    """All that was accepted, and had reached the replica, is answered once the replica has taken
    over; after FLUSHALL what waited is lost and said to be, and the next images are answered. No
    process is restarted."""
    ports = [free_port(), free_port()]
    first, second = (Redis(port=port) for port in ports)
    with (
        ConfiguredRedis(tmp_path / "1", f"port {ports[0]}", "bind 127.0.0.1", 'save ""') as old,
        ConfiguredRedis(
            tmp_path / "2", f"port {ports[1]}", "bind 127.0.0.1", 'save ""',
            f"replicaof 127.0.0.1 {ports[0]}", "repl-diskless-sync-delay 0",
        ),
        Forwarder(ports[0]) as address,
        first, second,
    ):  # fmt: skip
        eventually(lambda: answers(first) and answers(second), "both Redis")
        eventually(lambda: second.info("replication")["master_link_status"] == "up", "the replica")
        url = f"redis://127.0.0.1:{address.port}/0"
        with Service(tmp_path / "home", REDIS_URL=url) as service, service.client() as client:
            service.wait_until_ready()
            pids = {process.pid for process in service.family()}
            eventually(lambda: answered(client), "an image")

            suspend_workers(first)
            jobs = accepted(client)
            assert first.wait(1, 60_000) == 1
            old.popen.kill()
            second.replicaof("NO", "ONE")
            resume(second)
            address.move(ports[1])
            eventually(lambda: answered(client), "an image after the failover")
            eventually(lambda: states(client, jobs)["finished"] == JOBS, "all that was accepted")

            address.move(None)  # away
            eventually(lambda: client.get("/readyz").status_code == 503, "that Redis is away")
            assert not answered(client)
            address.move(ports[1])
            eventually(lambda: answered(client), "an image after Redis was away")
            assert states(client, jobs) == {"finished": JOBS}

            suspend_workers(second)
            jobs = accepted(client)
            second.flushall()
            eventually(lambda: answered(client), "an image after FLUSHALL")
            assert states(client, jobs)["lost"] == JOBS
            eventually(lambda: client.get("/readyz").status_code == 200, "ready")
            assert {process.pid for process in service.family()} == pids, service.output
