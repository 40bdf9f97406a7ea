"""Workers that are killed, several at once and again, and workers that stand still."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil
import pytest

from pipeline.liveness import STALLED_EXIT_CODE
from pipeline.queue.keys import LEASE_S
from tests.integration import pictures
from tests.paths import ROOT
from tests.servers import RedisProcess, Service, eventually, worker
from tests.suspension import next_heartbeats, suspend_workers
from worker.loop import HEARTBEAT_S

DETECT = "/api/v1/detect"
#: Seconds after the kill of a worker at which what it held is back in the queue, as
#: docs/reliability.md says, where the machine has turns for the worker that looks.
TAKEN_BACK_S = 12.0


def test_a_lease_and_a_look_are_shorter_than_what_is_promised() -> None:
    """The lease ends, and the next heartbeat of any worker finds that: with seconds to spare."""
    assert LEASE_S + HEARTBEAT_S <= TAKEN_BACK_S - 5
    assert LEASE_S >= 5 * HEARTBEAT_S


@pytest.mark.timeout(600)
def test_several_at_once_and_again(tmp_path: Path) -> None:
    """All workers are killed in the middle of images, some of them in tiles, and one more when they
    are back: nothing is lost, and nothing is stored twice."""
    with Service(tmp_path / "home", DAMOSCOPE_WORKERS="2") as service:
        service.wait_until_ready()
        with service.redis() as redis, service.client() as client:
            places = [
                client.post(
                    DETECT,
                    params={"tiles": "4x3"} if seed % 3 == 0 else {},
                    content=pictures.jpeg(2400, 1800, seed),
                    headers={"content-type": "image/jpeg", "prefer": "respond-async"},
                ).headers["location"]
                for seed in range(16)
            ]
            for most in (2, 1):
                eventually(lambda: redis.zcard("rq:wip:detections"), "images in hand")
                for process in service.children("worker")[:most]:
                    with contextlib.suppress(psutil.NoSuchProcess):  # it ends from the kill before
                        process.kill()
                eventually(lambda: len(service.children("worker")) == 2, "the next workers")

            def finished() -> bool:
                return all(client.get(place).json()["status"] == "finished" for place in places)

            eventually(finished, "every image to be answered")
            results = [redis.xlen(f"rq:results:{place.rpartition('/')[2]}") for place in places]
            assert results == [1] * len(places)
            assert redis.zcard("rq:wip:detections") == 0


@pytest.mark.timeout(600)
def test_a_suspended_worker_takes_back(tmp_path: Path) -> None:
    """Whoever is there puts what a dead worker held back into the queue, even if it takes nothing
    itself."""
    with RedisProcess(tmp_path / "redis") as server, worker(server.url, tmp_path / "idle") as idle:
        idle.wait_for("ready:")
        suspend_workers(server.client)
        now = server.client.time()[0]
        job = {"status": "started", "retries_left": 2, "data": "[]", "worker_name": "gone"}
        server.client.hset("rq:job:lost", mapping=job)
        server.client.zadd("rq:wip:detections", {"lost:execution": now + LEASE_S})
        eventually(lambda: server.client.lpos("rq:queue:detections", "lost") == 0, "the image")
        assert server.client.zcard("rq:wip:detections") == 0


#: Makes a part of a worker fail when SIGUSR1 comes, and its limits short. Python runs it when it
#: starts.
FAILING = """
import gc, signal, time

def stand_still(*_):
    time.sleep(3600)

def fail(*_):
    import worker.loop as loop
    from pipeline.liveness import Liveness
    gc.unfreeze()  # what a worker has loaded is kept out of these
    for liveness in [each for each in gc.get_objects() if isinstance(each, Liveness)]:
        for each in liveness._loops.values():
            each.most, each.silent = 6, 0
    {what}

signal.signal(signal.SIGUSR1, fail)
"""
FAILURES = {
    "the loop stands still": ("stand_still()", "the loop stood still", "in stand_still"),
    "the heartbeat stands still": (
        "loop.BatchWorker._recover = stand_still",
        "the heartbeat stood still",
        "in stand_still",
    ),
    "the heartbeat ends": (
        "loop.BatchWorker._beat_once = None",
        "the heartbeat has ended",
        "'NoneType' object is not callable",
    ),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("what", "said", "where"), FAILURES.values(), ids=FAILURES.keys())
def test_a_worker_that_does_not_move(tmp_path: Path, what: str, said: str, where: str) -> None:
    """It says what and where, and ends itself; its keeper starts it again."""
    (tmp_path / "sitecustomize.py").write_text(FAILING.format(what=what))
    with (
        RedisProcess(tmp_path / "redis") as server,
        worker(server.url, tmp_path / "worker", PYTHONPATH=f"{tmp_path}:{ROOT}") as process,
    ):
        process.wait_for("ready:")
        eventually(lambda: server.client.scard("rq:workers:detections"), "the registration")
        for _ in range(2):  # of the first heartbeat none is cut off
            next_heartbeats(server.client)
        process.send(signal.SIGUSR1)
        assert process.wait() == STALLED_EXIT_CODE, process.output
        assert said in process.output
        assert where in process.output
