"""Real workers on a real queue: what dies, stops, pauses or comes back costs no image."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError
from rq import Worker
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from pipeline.job import DetectJob, DetectOptions, ImageInfo, JobState
from pipeline.queue.keys import QUEUE_KEYS, image_key
from pipeline.queue.producer import Producer
from tests.integration import pictures
from tests.servers import Process, RedisProcess, caught, damoscope, eventually, run, worker
from tests.suspension import next_heartbeats

REPLY_TO = "damoscope:replies:test"
ATTEMPTS_MAX = 2


class Line:
    """The frontend's end of the queue, with an ear on the reply channel."""

    def __init__(self, server: RedisProcess) -> None:
        self.server = server
        self.redis = server.client
        self._pubsub = self.redis.pubsub()
        self._pubsub.subscribe(REPLY_TO)
        assert self._pubsub.get_message(timeout=60)
        self.heard: list[str] = []

    def send(self, *images: bytes, ttl_s: float | None = None) -> list[str]:
        """Enqueue images. Returns their job ids."""

        async def send() -> list[str]:
            redis = AsyncRedis.from_url(self.server.url)
            producer = self._producer(redis)
            ids = []
            for data in images:
                job_id = uuid4().hex
                info = ImageInfo(width=1, height=1, format="JPEG", bytes=len(data))
                job = DetectJob(options=DetectOptions(), image=info, upload_ms=1.0)
                await producer.store_image(job_id, data)
                await producer.enqueue(
                    job_id, job, priority="normal", meta={}, reply_to=REPLY_TO, ttl_s=ttl_s
                )
                ids.append(job_id)
            await redis.aclose()
            return ids

        return asyncio.run(send())

    def _producer(self, redis: AsyncRedis) -> Producer:
        return Producer(
            redis, queue_max=1000, job_ttl_s=600, result_ttl_s=600, attempts_max=ATTEMPTS_MAX
        )

    def states(self, ids: list[str]) -> list[JobState]:
        async def states() -> list[JobState]:
            redis = AsyncRedis.from_url(self.server.url)
            found = [await self._producer(redis).state(job_id) for job_id in ids]
            await redis.aclose()
            return found

        return asyncio.run(states())

    def all_done(self, ids: list[str]) -> list[str]:
        """The final status of each job, once all have one."""

        def look() -> list[str] | None:
            found = [str(state.status) for state in self.states(ids)]
            return found if all(status in ("finished", "failed", "expired") for status in found) \
                else None  # fmt: skip

        return eventually(look, "every job to be answered") or []

    def replies(self) -> list[str]:
        """The ids of all jobs that were replied to so far."""
        while message := self._pubsub.get_message(timeout=0.1):
            self.heard.append(message["data"].partition(b" ")[0].decode())
        return self.heard

    def job(self, job_id: str) -> Job:
        return Job.fetch(job_id, connection=self.redis, serializer=JSONSerializer)

    def held(self) -> int:
        """Jobs in the hands of workers."""
        return int(self.redis.zcard("rq:wip:detections"))

    def nothing_is_left(self) -> None:
        """No job waits or is held, and no image or execution is left behind."""
        assert [self.redis.llen(key) for key in QUEUE_KEYS] == [0, 0, 0]
        # One that came back may be run again when it is answered already, and is let go then.
        eventually(lambda: self.held() == 0, "nothing in hand")
        assert list(self.redis.scan_iter("rq:execution:*")) == []

    def close(self) -> None:
        self._pubsub.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with RedisProcess(tmp_path / "redis") as server:
        opened = Line(server)
        yield opened
        opened.close()


@pytest.fixture
def workers(line: Line, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(line, tmp_path)
    yield started
    started.close()


class Workers:
    """Workers of one test, all stopped at its end."""

    def __init__(self, line: Line, folder: Path) -> None:
        self._line, self._folder = line, folder
        self.all: list[Process] = []

    def start(self, many: int = 1, **env: str) -> list[Process]:
        """Start workers, and wait until they are registered."""
        new = [
            worker(self._line.server.url, self._folder / f"worker{len(self.all) + i}", **env)
            for i in range(many)
        ]
        self.all += new
        for process in new:
            process.wait_for("ready:")
        eventually(lambda: self.registered(new), "workers to register")
        return new

    def registered(self, processes: list[Process]) -> bool:
        pids = {int(one.pid or 0) for one in Worker.all(connection=self._line.redis)}
        return {process.pid for process in processes} <= pids

    def close(self) -> None:
        for process in self.all:
            process.stop()


def test_a_worker_killed_in_the_middle(line: Line, workers: Workers) -> None:
    """SIGKILL with several images in hand: another worker answers each of them, once."""
    (victim,) = workers.start(1, DAMOSCOPE_BATCH_MAX="4")
    ids = line.send(*[pictures.slow()] * 4, *[pictures.jpeg()] * 4)
    caught(psutil.Process(victim.pid), lambda: line.held() >= 4, "images in hand")
    victim.send(signal.SIGKILL)
    victim.wait()
    assert line.held() >= 4
    workers.start(1)
    assert line.all_done(ids) == ["finished"] * 8
    assert sorted(line.replies()) == sorted(ids)
    assert {len(line.job(job_id).results()) for job_id in ids} == {1}
    assert not any(line.redis.exists(image_key(job_id)) for job_id in ids)
    line.nothing_is_left()


def test_stopping_finishes_what_is_in_hand(line: Line, workers: Workers) -> None:
    """SIGTERM: what the worker holds is answered, the rest waits for others, and it ends with 0."""
    (process,) = workers.start(1, DAMOSCOPE_BATCH_MAX="2")
    ids = line.send(*[pictures.slow()] * 8)
    stopped = psutil.Process(process.pid)
    caught(stopped, lambda: line.held() > 0, "images in hand")
    process.send(signal.SIGTERM)
    stopped.resume()
    assert process.wait() == 0
    assert line.held() == 0
    statuses = [state.status for state in line.states(ids)]
    finished = statuses.count("finished")
    assert 0 < finished < 8
    assert statuses == ["finished"] * finished + ["queued"] * (8 - finished)
    assert len(line.replies()) == finished
    assert Worker.all(connection=line.redis) == []
    assert "Traceback" not in process.output


def test_suspend_and_resume(line: Line, workers: Workers, tmp_path: Path) -> None:
    """`rq suspend` pauses our workers and `rq resume` wakes them; they stay registered."""
    rq = [sys.executable, "-m", "rq.cli"]
    workers.start(1)
    assert run([*rq, "suspend", "--url", line.server.url], tmp_path).returncode == 0
    for _ in range(2):  # with each, the worker looks whether it is suspended
        next_heartbeats(line.redis)
    ids = line.send(pictures.jpeg())
    for _ in range(2):
        next_heartbeats(line.redis)
    assert [state.status for state in line.states(ids)] == ["queued"]
    assert len(Worker.all(connection=line.redis)) == 1
    assert run([*rq, "resume", "--url", line.server.url], tmp_path).returncode == 0
    assert line.all_done(ids) == ["finished"]


def test_redis_comes_back(line: Line, workers: Workers) -> None:
    """Redis stopped and started again while workers are busy: every image is answered once."""
    (process,) = workers.start(1)
    ids = line.send(*[pictures.slow()] * 3, *[pictures.jpeg()] * 3)
    eventually(lambda: line.held() > 0, "images in hand")
    line.server.stop()
    process.wait_for("Redis")  # it says that it noticed
    line.server.start()
    assert line.all_done(ids) == ["finished"] * 6
    assert {len(line.job(job_id).results()) for job_id in ids} == {1}
    more = line.send(pictures.jpeg())
    assert line.all_done(more) == ["finished"]
    eventually(lambda: workers.registered([process]), "the worker to be registered again")
    line.nothing_is_left()
    assert "Traceback" not in process.output


def test_a_worker_that_was_given_up_for_dead(line: Line, workers: Workers) -> None:
    """Its registration gone while it works, as after a cut cable: it registers anew, although
    it stores results before its next heartbeat."""
    (process,) = workers.start(1)
    (registered,) = Worker.all(connection=line.redis)
    line.redis.delete(registered.key)
    line.redis.srem("rq:workers:detections", registered.key)
    assert line.all_done(line.send(*[pictures.jpeg()] * 3)) == ["finished"] * 3
    eventually(lambda: workers.registered([process]), "the worker to be registered again")
    (again,) = Worker.all(connection=line.redis)
    assert again.name == registered.name
    counted = again.successful_job_count
    assert line.all_done(line.send(pictures.jpeg())) == ["finished"]
    again.refresh()
    assert again.successful_job_count == counted + 1


def test_an_image_that_kills_workers(line: Line, workers: Workers) -> None:
    """An image over which every worker dies fails as `worker_lost`; its neighbours survive."""
    workers.start(2, DAMOSCOPE_BATCH_MAX="3")
    poison, *others = line.send(pictures.slow(), *[pictures.jpeg()] * 5)
    over = threading.Event()
    kills = 0

    def kill_whoever_holds_it() -> int:
        found = 0
        while not over.is_set():
            status, name = line.redis.hmget(Job.key_for(poison), "status", "worker_name")
            if status == b"started" and name:
                pid = line.redis.hget(f"rq:worker:{name.decode()}", "pid")
                if pid and psutil.pid_exists(int(pid)):
                    os.kill(int(pid), signal.SIGKILL)
                    found += 1
                    line.redis.hset(Job.key_for(poison), "worker_name", "")
            time.sleep(0.005)
        return found

    def watch() -> None:
        nonlocal kills
        kills = kill_whoever_holds_it()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        eventually(lambda: sum(not one.running for one in workers.all) == ATTEMPTS_MAX,
                   "the workers to die")  # fmt: skip
        workers.start(1)
        statuses = line.all_done([poison, *others])
    finally:
        over.set()
        watching.join()
    assert kills == ATTEMPTS_MAX
    assert statuses == ["failed"] + ["finished"] * 5
    (state,) = line.states([poison])
    assert state.error is not None
    assert state.error.code == "worker_lost"
    assert sorted(line.replies()) == sorted([poison, *others])
    assert line.job(poison).get_status() == JobStatus.FAILED


def test_images_past_their_deadline_are_dropped(line: Line, workers: Workers) -> None:
    """A job that waited for longer than allowed is not run, and told so."""
    old, new = line.send(pictures.jpeg(), ttl_s=0) + line.send(pictures.jpeg())
    workers.start(1)
    assert line.all_done([old, new]) == ["expired", "finished"]


def test_bad_images_in_a_batch(line: Line, workers: Workers) -> None:
    """What cannot be decoded fails alone; the other images of its batch are answered."""
    good = pictures.jpeg()
    ids = line.send(good, b"nonsense", b"", good[: len(good) // 2], good)
    workers.start(1, DAMOSCOPE_BATCH_MAX="8")
    statuses = line.all_done(ids)
    assert (statuses[0], statuses[1], statuses[2], statuses[4]) == (
        "finished", "failed", "failed", "finished",
    )  # fmt: skip
    codes = [state.error.code for state in line.states(ids[1:3]) if state.error]
    assert codes == ["invalid_image", "invalid_image"]


def test_a_stock_rq_worker_drains_the_queue(line: Line, tmp_path: Path) -> None:
    """`rq worker` with the JSON serializer does our jobs: results, statuses, errors, replies."""
    good, bad, again = line.send(pictures.jpeg(200, 100), b"nonsense", pictures.jpeg(64, 64))
    rq_worker = [
        sys.executable, "-m", "rq.cli", "worker", "--url", line.server.url, "--burst",
        "--serializer", "json", "--worker-class", "rq.worker.SimpleWorker",
        "detections-high", "detections", "detections-low",
    ]  # fmt: skip
    answer = run(rq_worker, tmp_path)
    assert answer.returncode == 0, answer.stderr
    first, second, third = line.states([good, bad, again])
    assert first.status == "finished"
    assert first.result is not None
    assert (first.result.image.width, first.result.image.height) == (200, 100)
    assert third.status == "finished"
    assert second.status == "failed"
    assert second.error is not None
    assert second.error.code == "invalid_image"
    assert sorted(line.replies()) == sorted([good, bad, again])
    assert line.job(bad).get_status() == JobStatus.FAILED
    assert not line.redis.exists(image_key(good))
    line.nothing_is_left()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"DAMOSCOPE_MODEL": "absent.onnx"}, "absent.onnx"),
        ({"DAMOSCOPE_MODEL": "broken.onnx"}, "broken.onnx"),
        ({"DAMOSCOPE_PROVIDER": "cuda"}, "DAMOSCOPE_PROVIDER=cuda"),
        ({"DAMOSCOPE_PROVIDER": "abacus"}, "DAMOSCOPE_PROVIDER=abacus"),
        ({"REDIS_URL": "http://nowhere"}, "REDIS_URL"),
    ],
)
def test_an_unusable_setting(tmp_path: Path, env: dict[str, str], said: str) -> None:
    """A worker that cannot work says why in one line, and ends with code 2."""
    if "cuda" in env.values():
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            env = {"DAMOSCOPE_PROVIDER": "tensorrt"}
            said = "DAMOSCOPE_PROVIDER=tensorrt"
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    given = {"REDIS_URL": f"unix://{tmp_path}/none.sock"} | env
    answer = damoscope("worker", folder=tmp_path, **given)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert answer.stderr.startswith("damoscope: ")
    assert len(answer.stderr.splitlines()) == 1


def test_a_worker_waits_for_redis(line: Line, tmp_path: Path) -> None:
    """A worker that starts before Redis says so, and works once it is there."""
    line.server.stop()
    with worker(line.server.url, tmp_path / "early") as process:
        process.wait_for("Redis does not answer")
        line.server.start()
        ids = line.send(pictures.jpeg())
        assert line.all_done(ids) == ["finished"]
        line.server.stop()
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.output
    with pytest.raises(RedisError):
        line.redis.ping()
    line.server.start()
