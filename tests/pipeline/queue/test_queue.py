"""pipeline.queue against a real Redis, as RQ's own classes and tools see it."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import random
import sys
import threading
import time
import zlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError
from rq import Worker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from pipeline import errors
from pipeline.job import DetectJob, DetectOptions, ImageInfo, JobState, Priority
from pipeline.queue.consumer import Consumer, TakenJob
from pipeline.queue.keys import QUEUES, TASK, WORKERS_KEY, image_key
from pipeline.queue.messages import error_from_exc_string
from pipeline.queue.producer import Producer
from tests.servers import RedisProcess, environment, run

ATTEMPTS_MAX = 3
HELD_S = 600
REPLY_TO = "damoscope:replies:test"
META = {"trace_id": "ab" * 16, "traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}


def detect_job() -> DetectJob:
    return DetectJob(
        options=DetectOptions(),
        image=ImageInfo(width=640, height=480, format="JPEG", bytes=3),
        upload_ms=1.5,
    )


class Bench:
    """Both ends of the queue, and RQ's view of it."""

    def __init__(self, server: RedisProcess) -> None:
        self.url = server.url
        self.redis = server.client
        self.queue_max = 100

    def ask(self, action: Callable[[Producer], Coroutine[Any, Any, Any]]) -> Any:
        async def ask() -> Any:
            redis = AsyncRedis.from_url(self.url)
            producer = Producer(
                redis, queue_max=self.queue_max, job_ttl_s=600, result_ttl_s=3600,
                attempts_max=ATTEMPTS_MAX,
            )  # fmt: skip
            try:
                return await action(producer)
            finally:
                await redis.aclose()

        return asyncio.run(ask())

    def enqueue(self, *ids: str, priority: Priority = "normal", ttl_s: float | None = None) -> None:
        async def enqueue(producer: Producer) -> None:
            for job_id in ids:
                await producer.store_image(job_id, job_id.encode())
                await producer.enqueue(
                    job_id, detect_job(), priority=priority, meta=META, reply_to=REPLY_TO,
                    ttl_s=ttl_s,
                )  # fmt: skip

        self.ask(enqueue)

    def state(self, job_id: str) -> JobState:
        found: JobState = self.ask(lambda producer: producer.state(job_id))
        return found

    def consumer(self, name: str = "w1") -> Consumer:
        """A consumer whose worker is registered, as a worker's is."""
        worker = BaseWorker(
            list(QUEUES.values()), name=name, connection=self.redis, serializer="json"
        )
        if not self.redis.exists(worker.key):
            worker.register_birth()
        return Consumer(self.redis, name, result_ttl_s=3600)

    def job(self, job_id: str) -> Job:
        return Job.fetch(job_id, connection=self.redis, serializer=JSONSerializer)

    def waiting(self, name: str = "detections") -> list[str]:
        found: list[str] = self.rq_queue(name).job_ids
        return found

    def rq_queue(self, name: str = "detections") -> Queue:
        return Queue(name, connection=self.redis, serializer=JSONSerializer)

    def registries(self) -> tuple[list[str], list[str], list[str]]:
        """Jobs started, finished, failed: as RQ's registries of the queue `detections` tell."""
        return tuple(
            kind("detections", connection=self.redis, serializer=JSONSerializer).get_job_ids()
            for kind in (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry)
        )  # type: ignore[return-value]

    def lose(self, *jobs: TakenJob) -> None:
        """Let the leases of these jobs run out, as those of a dead worker do."""
        for job in jobs:
            key = f"rq:wip:{job.queue}"
            self.redis.zadd(key, {f"{job.job_id}:{job.execution_id}": 1.0}, xx=True)

    def listen(self) -> Replies:
        return Replies(self.redis)


class Replies:
    """What a frontend hears on its reply channel."""

    def __init__(self, redis: Redis) -> None:
        self._pubsub = redis.pubsub()
        self._pubsub.subscribe(REPLY_TO)
        assert self._pubsub.get_message(timeout=60)

    def all(self) -> list[tuple[str, dict[str, Any]]]:
        heard = []
        while message := self._pubsub.get_message(timeout=0.05):
            job_id, _, body = message["data"].partition(b" ")
            heard.append((job_id.decode(), orjson.loads(body)))
        return heard

    def close(self) -> None:
        self._pubsub.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """With leases that only `lose` ends: those of a worker, seconds, would on a busy machine."""
    monkeypatch.setattr("pipeline.queue.consumer.LEASE_S", HELD_S)
    with RedisProcess(tmp_path) as server:
        yield Bench(server)


@pytest.fixture
def replies(bench: Bench) -> Iterator[Replies]:
    heard = bench.listen()
    yield heard
    heard.close()


RESULT = (
    b'{"job_id": "a", "trace_id": "", "model": "m", "provider": "cpu", "detections": [], '
    b'"image": {"width": 1, "height": 1, "format": "PNG", "bytes": 1}, "batch_size": 1, '
    b'"worker": "w1", "timings_ms": {"upload": 1, "queue_wait": 1, "preprocess": 1, '
    b'"inference": 1, "nms": 1, "total": 5}}'
)


# -- one job's way, as RQ tells it --------------------------------------------------------


def test_a_waiting_job_as_rq_sees_it(bench: Bench) -> None:
    """An enqueued job is an RQ job that waits: queue, status, function, arguments, metadata."""
    bench.enqueue("a")
    job = bench.job("a")
    assert bench.rq_queue().count == 1
    assert bench.rq_queue() in Queue.all(connection=bench.redis)
    assert job.get_status() == JobStatus.QUEUED
    assert job.func_name == "worker.task.detect"
    assert DetectJob.model_validate(job.args[0]).image.width == 640
    assert job.meta == META
    assert job.enqueued_at is not None
    assert job.retries_left == ATTEMPTS_MAX - 1
    assert bench.registries() == ([], [], [])
    state = bench.state("a")
    assert (state.status, state.trace_id) == ("queued", "ab" * 16)


def test_a_taken_job_as_rq_sees_it(bench: Bench) -> None:
    """A taken job is started, in one execution of its worker, which is busy."""
    bench.enqueue("a")
    (taken,) = bench.consumer().take(4)
    assert (taken.job_id, taken.image, taken.attempt) == ("a", b"a", 1)
    assert (taken.queue, taken.meta, taken.reply_to) == ("detections", META, REPLY_TO)
    assert 0 < taken.enqueued_ns <= taken.taken_ns
    job = bench.job("a")
    assert bench.rq_queue().count == 0
    assert job.get_status() == JobStatus.STARTED
    assert job.worker_name == "w1"
    assert bench.registries() == (["a"], [], [])
    (execution,) = job.get_executions()
    assert (execution.id, execution.job_id) == (taken.execution_id, "a")
    assert Execution.fetch(execution.id, "a", bench.redis).worker_name == "w1"
    (worker,) = Worker.all(connection=bench.redis)
    assert worker.get_state() == "busy"
    assert bench.state("a").status == "started"


def test_a_job_waits_until_it_is_taken_wholly(bench: Bench) -> None:
    """Where Redis refuses a part of the taking, the job is in its queue as before."""
    bench.enqueue("a")
    bench.redis.execute_command("ACL", "SETUSER", "default", "-zadd")
    try:
        with pytest.raises(ResponseError, match="can't run"):
            bench.consumer().take(4)
    finally:
        bench.redis.execute_command("ACL", "SETUSER", "default", "+zadd")
    assert bench.waiting() == ["a"]
    assert [job.job_id for job in bench.consumer().take(4)] == ["a"]


def test_a_finished_job_as_rq_sees_it(bench: Bench, replies: Replies) -> None:
    """A finished job has its result in RQ, is replied to, and leaves no image or execution."""
    bench.enqueue("a")
    consumer = bench.consumer()
    taken = consumer.take(4)
    assert consumer.finish([(taken[0], RESULT)], 0.25) == [True]
    job = bench.job("a")
    assert job.get_status() == JobStatus.FINISHED
    assert job.return_value() == json.loads(RESULT)
    latest = job.latest_result()
    assert latest is not None
    assert (latest.type, latest.worker_name) == (Result.Type.SUCCESSFUL, "w1")
    assert job.ended_at is not None
    assert job.get_executions() == []
    assert bench.registries() == ([], ["a"], [])
    (worker,) = Worker.all(connection=bench.redis)
    assert (worker.get_state(), worker.successful_job_count) == ("idle", 1)
    assert worker.total_working_time == pytest.approx(0.25)
    assert not bench.redis.exists(image_key("a"))
    assert 0 < bench.redis.ttl(job.key) <= 3600
    assert replies.all() == [("a", {"result": json.loads(RESULT)})]
    state = bench.state("a")
    assert state.status == "finished"
    assert state.result is not None


def test_a_failed_job_as_rq_sees_it(bench: Bench, replies: Replies) -> None:
    """A failed job is in RQ's failed registry with its reason, keeps its image, is replied to."""
    bench.enqueue("a")
    consumer = bench.consumer()
    (taken,) = consumer.take(4)
    consumer.finish([(taken, errors.InvalidImage("no picture"))], 0.1)
    job = bench.job("a")
    assert job.get_status() == JobStatus.FAILED
    latest = job.latest_result()
    assert latest is not None
    assert latest.type == Result.Type.FAILED
    assert latest.exc_string == "pipeline.errors.InvalidImage: no picture"
    assert bench.registries() == ([], [], ["a"])
    (worker,) = Worker.all(connection=bench.redis)
    assert worker.failed_job_count == 1
    assert bench.redis.get(image_key("a")) == b"a"
    error = {"code": "invalid_image", "message": "no picture"}
    assert replies.all() == [("a", {"error": error})]
    state = bench.state("a")
    assert state.status == "failed"
    assert state.error is not None
    assert state.error.model_dump() == error


def test_a_job_past_its_deadline_reads_as_expired(bench: Bench) -> None:
    """The state of a job that a worker dropped unrun is `expired`, not `failed`."""
    bench.enqueue("a")
    consumer = bench.consumer()
    (taken,) = consumer.take(1)
    consumer.finish([(taken, errors.JobExpired("too late"))], 0.0)
    assert bench.state("a").status == "expired"


def test_an_unknown_job(bench: Bench) -> None:
    """Asking for a job that never was raises NotFound."""
    with pytest.raises(errors.NotFound):
        bench.state("never")


def rq_info(bench: Bench, folder: Path) -> str:
    command = [sys.executable, "-m", "rq.cli", "info", "--url", bench.url, "--raw"]
    command += ["--serializer", "json"]
    answer = run(command, folder)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_rq_info(bench: Bench, tmp_path: Path) -> None:
    """`rq info` counts waiting, started, finished and failed jobs, and names the workers."""
    bench.enqueue("a", "b", "c", "d")
    consumer = bench.consumer()
    taken = consumer.take(3)
    consumer.finish([(taken[0], RESULT), (taken[1], errors.InvalidImage("bad"))], 0.1)
    queues, worker = rq_info(bench, tmp_path).splitlines()
    assert queues == "queue detections 1, 1 executing, 1 finished, 1 failed"
    assert worker.startswith("worker w1 ")
    assert worker.endswith(
        "detections-high, detections, detections-low. jobs: 1 finished, 1 failed"
    )


def test_rq_dashboard(bench: Bench) -> None:
    """rq-dashboard shows queues and jobs at every step, results and errors included.

    Its page of workers reads only pickled jobs while a worker is busy, whoever enqueued them.
    """
    import rq_dashboard
    from rq_dashboard.web import config

    config.serializer = JSONSerializer
    app = Flask("dashboard")
    app.config.from_object(rq_dashboard.default_settings)
    app.config["RQ_DASHBOARD_REDIS_URL"] = bench.url
    rq_dashboard.web.setup_rq_connection(app)
    app.register_blueprint(rq_dashboard.blueprint)
    client = app.test_client()

    def job(job_id: str) -> dict[str, Any]:
        answer = client.get(f"/0/data/job/{job_id}.json")
        assert answer.status_code == 200
        return dict(answer.get_json())

    bench.enqueue("a", "b")
    assert job("a")["status"] == "queued"
    assert "JPEG 640x480" in job("a")["description"]
    consumer = bench.consumer()
    taken = consumer.take(2)
    assert job("a")["status"] == "started"
    consumer.finish([(taken[0], RESULT), (taken[1], errors.InvalidImage("bad"))], 0.1)
    assert (job("a")["status"], job("a")["result"]) == ("finished", json.loads(RESULT))
    assert job("b")["status"] == "failed"
    assert "InvalidImage: bad" in job("b")["exc_info"]
    (shown,) = client.get("/0/data/workers.json").get_json()["workers"]
    assert (shown["name"], shown["state"]) == ("w1", "idle")
    assert (shown["successful_job_count"], shown["failed_job_count"]) == (1, 1)
    queues = {q["name"]: q for q in client.get("/0/data/queues.json").get_json()["queues"]}
    assert queues["detections"]["count"] == 0
    assert queues["detections"]["finished_job_registry_count"] == 1
    assert queues["detections"]["failed_job_registry_count"] == 1
    app.redis_conn.close()  # type: ignore[attr-defined]


# -- taking -------------------------------------------------------------------------------


def test_priorities(bench: Bench) -> None:
    """High goes before normal before low; within a queue, first come, first served."""
    bench.enqueue("low", priority="low")
    bench.enqueue("n1", "n2")
    bench.enqueue("high", priority="high")
    taken = bench.consumer().take(10)
    assert [job.job_id for job in taken] == ["high", "n1", "n2", "low"]
    assert taken[0].queue == "detections-high"


def test_a_full_queue(bench: Bench) -> None:
    """Beyond `queue_max` waiting jobs, over all priorities, an image is refused."""
    bench.queue_max = 2
    bench.enqueue("a")
    bench.enqueue("b", priority="low")
    with pytest.raises(errors.Unavailable, match="full"):
        bench.enqueue("c", priority="high")
    assert not bench.redis.exists(Job.key_for("c"))
    assert bench.waiting("detections-high") == []
    bench.ask(lambda producer: producer.discard_image("c"))
    assert not bench.redis.exists(image_key("c"))
    bench.consumer().take(2)
    bench.enqueue("c")  # there is room again


def test_workers_share(bench: Bench) -> None:
    """A worker takes its share of what waits, however large its batches are."""
    first, second = bench.consumer("w1"), bench.consumer("w2")
    bench.enqueue(*"abcde")
    assert [job.job_id for job in first.take(16)] == ["a", "b", "c"]
    assert [job.job_id for job in second.take(16)] == ["d"]
    assert [job.job_id for job in first.take(16)] == ["e"]
    assert second.take(16) == []


def test_workers_of_other_queues_take_no_share(bench: Bench) -> None:
    """Who works on another queue of the same Redis, as the watcher does, leaves none behind."""
    BaseWorker(["damoscope-notices"], name="w0", connection=bench.redis).register_birth()
    consumer = bench.consumer("w1")
    bench.enqueue("a")
    assert [job.job_id for job in consumer.take(4, ahead=True)] == ["a"]
    bench.enqueue(*"bcd")
    assert [job.job_id for job in consumer.take(4)] == ["b", "c", "d"]


def test_a_lone_image_is_told_apart(bench: Bench) -> None:
    """A job is alone when nothing else waits and no worker has anything in hand."""
    first, second = bench.consumer("w1"), bench.consumer("w2")
    bench.enqueue("a")
    assert [job.alone for job in first.take(16)] == [True]
    bench.enqueue("b")
    assert [job.alone for job in second.take(16)] == [False]
    bench.enqueue("c", "d")
    assert [job.alone for job in first.take(1)] == [False]


def test_taking_ahead_leaves_jobs_to_idle_workers(bench: Bench) -> None:
    """A worker that is busy takes its next batch only from what the others cannot need."""
    first, second = bench.consumer("w1"), bench.consumer("w2")
    bench.enqueue("a")
    assert first.take(4, ahead=True) == []
    bench.enqueue("b")
    assert [job.job_id for job in first.take(4, ahead=True)] == ["a"]
    assert [job.job_id for job in second.take(4)] == ["b"]


def test_an_expired_job_is_skipped(bench: Bench) -> None:
    """A job whose hash Redis dropped at its time to live is passed over."""
    bench.enqueue("a", "b")
    bench.redis.delete(Job.key_for("a"))
    (taken,) = bench.consumer().take(1)
    assert taken.job_id == "b"
    assert bench.waiting() == []
    assert bench.registries()[0] == ["b"]


def test_an_expired_image(bench: Bench) -> None:
    """A job whose image Redis dropped is taken with no image, and finished as any other."""
    bench.enqueue("a")
    bench.redis.delete(image_key("a"))
    (taken,) = bench.consumer().take(1)
    assert taken.image is None


def test_waiting_ends_with_the_next_job(bench: Bench) -> None:
    """An idle worker that waits is woken by the enqueueing of a job."""
    consumer = bench.consumer()
    woken = threading.Event()

    def wait() -> None:
        consumer.wait(60)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    bench.enqueue("a")
    assert woken.wait(30)
    thread.join()


class Bomb:
    """Pickled, it would write a file when it is read back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def payloads(tmp_path: Path) -> dict[str, bytes]:
    options = detect_job().model_dump(mode="json")
    return {
        "foreign function": zlib.compress(orjson.dumps(["this.boom", None, [options], {}])),
        "wrong arguments": zlib.compress(orjson.dumps([TASK, None, [{"a": 1}], {}])),
        "no arguments": zlib.compress(orjson.dumps([TASK, None, [], {}])),
        "not a job": zlib.compress(b"17"),
        "not JSON": zlib.compress(b"{"),
        "not compressed": b"hello",
        "pickled": zlib.compress(pickle.dumps(Bomb(tmp_path / "exploded"))),
        "pickled plainly": pickle.dumps(Bomb(tmp_path / "exploded")),
        "empty": b"",
    }


@pytest.mark.parametrize("kind", list(payloads(Path())))
def test_a_foreign_job_is_refused(bench: Bench, tmp_path: Path, kind: str) -> None:
    """A job that is not ours is refused with a reason; nothing is imported or unpickled."""
    assert "this" not in sys.modules
    bench.enqueue("a", "b")
    bench.redis.hset(Job.key_for("a"), "data", payloads(tmp_path)[kind])  # type: ignore[arg-type]
    first, second = bench.consumer().take(2)
    assert first.job is None
    assert first.refusal
    assert second.job is not None
    assert not (tmp_path / "exploded").exists()
    assert "this" not in sys.modules


def test_a_job_that_rq_wrote_again(bench: Bench) -> None:
    """RQ packs a job's data when it saves it; ours comes plain. Both are taken alike."""
    bench.enqueue("plain", "packed")
    bench.job("packed").save()
    plain, packed = (bench.redis.hget(Job.key_for(name), "data") for name in ("plain", "packed"))
    assert plain.startswith(b"[")
    assert zlib.decompress(packed).startswith(b"[")
    first, second = bench.consumer().take(2)
    assert first.job
    assert second.job
    assert first.job.image == second.job.image


def test_images_of_any_size_come_with_their_jobs(bench: Bench) -> None:
    """In the order of the jobs; None stands for one that has expired."""
    sizes = {"small": 3, "gone": 3, "large": 5 * 2**20, "last": 2**20}

    async def enqueue(producer: Producer) -> None:
        for job_id, size in sizes.items():
            await producer.store_image(job_id, b"x" * size)
            await producer.enqueue(
                job_id, detect_job(), priority="normal", meta=META, reply_to=REPLY_TO
            )

    bench.ask(enqueue)
    bench.redis.delete(image_key("gone"))
    taken = bench.consumer().take(4)
    assert [job.image and len(job.image) for job in taken] == [3, None, 5 * 2**20, 2**20]


def test_images_come_with_their_jobs_after_redis_lost_the_scripts(bench: Bench) -> None:
    """As after a restart: what was taken before is not mistaken for what is taken now."""
    bench.enqueue("a", "b", "c")
    consumer = bench.consumer()
    assert [job.job_id for job in consumer.take(1)] == ["a"]
    bench.redis.script_flush()
    assert [(job.job_id, job.image) for job in consumer.take(2)] == [("b", b"b"), ("c", b"c")]
    assert consumer.take(1) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("meta", "{"), ("meta", "17"), ("enqueued_at", "yesterday"), ("number_of_retries", "x")],
)
def test_a_job_with_damaged_fields_harms_no_other(bench: Bench, field: str, value: str) -> None:
    """Whatever stands in a job's hash, the job is taken or refused, and so are its neighbours."""
    bench.enqueue("a", "b")
    bench.redis.hset(Job.key_for("a"), field, value)
    assert [job.job_id for job in bench.consumer().take(2)] == ["a", "b"]


# -- leases -------------------------------------------------------------------------------


def test_jobs_in_hand_are_left_alone(bench: Bench) -> None:
    """Nothing is recovered from a worker whose lease still runs."""
    bench.enqueue("a")
    consumer = bench.consumer()
    consumer.take(1)
    assert consumer.recover() == (0, 0)
    assert bench.registries()[0] == ["a"]


def test_lost_jobs_go_back_in_order(bench: Bench) -> None:
    """What a dead worker held goes to the front of its queue in the order of arrival."""
    ids = ["d", "a", "c", "b", "e"]  # not in the order of their names
    bench.enqueue(*ids)
    taken = bench.consumer("dead").take(4)
    bench.lose(*taken)
    assert bench.consumer("w2").recover() == (4, 0)
    assert bench.waiting() == ids
    assert bench.registries() == ([], [], [])
    job = bench.job(ids[0])
    assert job.get_status() == JobStatus.QUEUED
    assert job.get_executions() == []
    assert bench.state(ids[0]).status == "queued"


def test_attempts_are_counted(bench: Bench, replies: Replies) -> None:
    """A job that kills its workers is tried `attempts_max` times, then failed and replied to."""
    bench.enqueue("a")
    for attempt in range(1, ATTEMPTS_MAX + 1):
        (taken,) = bench.consumer(f"w{attempt}").take(1)
        assert taken.attempt == attempt
        bench.lose(taken)
        expected = (1, 0) if attempt < ATTEMPTS_MAX else (0, 1)
        assert bench.consumer("other").recover() == expected
    assert bench.job("a").get_status() == JobStatus.FAILED
    assert bench.registries() == ([], [], ["a"])
    state = bench.state("a")
    assert state.error is not None
    assert state.error.code == "worker_lost"
    ((job_id, body),) = replies.all()
    assert (job_id, body["error"]["code"]) == ("a", "worker_lost")


def test_a_job_that_was_lost_runs_alone(bench: Bench) -> None:
    """An image over which a worker died shares no batch: it costs no other image a try."""
    bench.enqueue("a", "b", "c", "d")
    dead = bench.consumer("dead")
    bench.lose(*dead.take(2))
    bench.redis.srem(WORKERS_KEY, "rq:worker:dead")
    consumer = bench.consumer("w1")
    consumer.recover()
    assert [job.job_id for job in consumer.take(16)] == ["a"]
    assert consumer.take(16, ahead=True) == []
    assert [job.job_id for job in consumer.take(16)] == ["b"]
    assert [job.job_id for job in consumer.take(16)] == ["c", "d"]


def test_a_late_result_changes_nothing(bench: Bench, replies: Replies) -> None:
    """When a job was taken away from a slow worker, the worker's result is dropped."""
    bench.enqueue("a")
    slow, quick = bench.consumer("slow"), bench.consumer("quick")
    (late,) = slow.take(1)
    bench.lose(late)
    quick.recover()
    assert slow.finish([(late, errors.InvalidImage("late"))], 0.1) == [False]
    assert bench.job("a").get_status() == JobStatus.QUEUED
    (taken,) = quick.take(1)
    assert quick.finish([(taken, RESULT)], 0.1) == [True]
    assert slow.finish([(late, errors.InvalidImage("late"))], 0.1) == [False]
    assert bench.job("a").get_status() == JobStatus.FINISHED
    assert len(bench.job("a").results()) == 1
    assert bench.registries() == ([], ["a"], [])
    assert [body for _, body in replies.all()] == [{"result": json.loads(RESULT)}]


def test_the_same_outcome_stored_twice(bench: Bench, replies: Replies) -> None:
    """A worker that stores again, because it saw no answer, is told that its result stands."""
    bench.enqueue("a")
    consumer = bench.consumer()
    (taken,) = consumer.take(1)
    assert consumer.finish([(taken, RESULT)], 0.1) == [True]
    assert consumer.finish([(taken, RESULT)], 0.1) == [True]
    assert len(bench.job("a").results()) == 1
    assert len(replies.all()) == 1
    (worker,) = Worker.all(connection=bench.redis)
    assert worker.successful_job_count == 1


def test_a_batch_is_stored_one_by_one(bench: Bench) -> None:
    """Of a batch, what was lost is dropped and what was held is stored."""
    bench.enqueue("a", "b", "c")
    consumer = bench.consumer()
    taken = consumer.take(3)
    bench.lose(taken[1])
    consumer.recover()
    stored = consumer.finish([(job, RESULT) for job in taken], 0.3)
    assert stored == [True, False, True]


def test_heartbeat_extends_only_what_is_held(bench: Bench) -> None:
    """A heartbeat prolongs the leases in hand, and revives none that was lost."""
    bench.enqueue("a", "b")
    consumer = bench.consumer()
    first, second = consumer.take(2)
    bench.lose(second)
    consumer.recover()
    key = "rq:wip:detections"
    bench.redis.zadd(key, {f"a:{first.execution_id}": time.time() + 1})
    consumer.heartbeat([first, second])
    leases = bench.redis.zrange(key, 0, -1, withscores=True)
    assert [name.decode() for name, _ in leases] == [f"a:{first.execution_id}"]
    assert leases[0][1] > time.time() + HELD_S / 2
    assert bench.job("b").get_executions() == []
    consumer.heartbeat([])


def test_two_workers_recover_at_once(bench: Bench) -> None:
    """However many workers recover together, every lost job is queued once."""
    ids = [f"j{i}" for i in range(60)]
    bench.enqueue(*ids)
    bench.lose(*bench.consumer("dead").take(60))
    consumers = [bench.consumer(f"w{i}") for i in range(4)]
    found: list[tuple[int, int]] = []
    threads = [
        threading.Thread(target=lambda c=c: found.append(c.recover()))  # type: ignore[misc]
        for c in consumers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(back for back, _ in found) == 60
    assert sorted(bench.waiting()) == sorted(ids)


def test_rq_cleans_up_as_we_do(bench: Bench) -> None:
    """RQ's own maintenance of the started registry retries lost jobs, and fails them in time."""
    bench.enqueue("a")
    registry = StartedJobRegistry("detections", connection=bench.redis, serializer=JSONSerializer)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        (taken,) = bench.consumer(f"w{attempt}").take(1)
        assert taken.attempt == attempt
        bench.lose(taken)
        registry.cleanup()
        assert bench.consumer("other").recover() == (0, 0)
        assert bench.consumer().finish([(taken, RESULT)], 0.1) == [False]
    state = bench.state("a")
    assert state.error is not None
    assert state.error.code == "worker_lost"


def test_requeue(bench: Bench, replies: Replies, tmp_path: Path) -> None:
    """`rq requeue` puts a failed job back, and its next result replaces the failure."""
    bench.enqueue("a")
    consumer = bench.consumer()
    (taken,) = consumer.take(1)
    consumer.finish([(taken, errors.InferenceFailed("once"))], 0.1)
    answer = run(
        [sys.executable, "-m", "rq.cli", "requeue", "--url", bench.url, "--queue", "detections",
         "--serializer", "json", "a"],
        tmp_path,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert bench.registries() == ([], [], [])
    assert bench.state("a").status == "queued"
    (again,) = consumer.take(1)
    assert again.image == b"a"
    assert consumer.finish([(again, RESULT)], 0.1) == [True]
    assert bench.registries() == ([], ["a"], [])
    assert bench.state("a").status == "finished"


# -- errors between processes -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("pipeline.errors.InvalidImage: cut short: at byte 9", "invalid_image",
         "cut short: at byte 9"),
        ("Traceback:\n  File ...\npipeline.errors.ImageTooLarge: big\n", "too_large", "big"),
        ("ValueError: oops", "inference_failed", "ValueError: oops"),
        ("Moved to FailedJobRegistry, due to AbandonedJobError, at 2026", "worker_lost", None),
        ("x.DamoscopeErrors: no such class", "inference_failed", None),
        ("", "inference_failed", ""),
    ],
)  # fmt: skip
def test_errors_read_back(text: str, code: str, message: str | None) -> None:
    """What RQ keeps of a failure is turned into the error that it was."""
    error = error_from_exc_string(text)
    assert error.code == code
    assert message is None or error.message == message


def test_results_are_plain_rq_results(bench: Bench) -> None:
    """What is stored is JSON that RQ's own serializer reads; nothing is pickled."""
    bench.enqueue("a")
    consumer = bench.consumer()
    (taken,) = consumer.take(1)
    consumer.finish([(taken, RESULT)], 0.1)
    ((_, fields),) = bench.redis.xrange(Result.get_key("a"))
    assert json.loads(base64.b64decode(fields[b"return_value"])) == json.loads(RESULT)


# -- any order of events ------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Jobs enqueued, taken, finished, lost and recovered in any order.

    The model: a job waits, or is held by an execution, or was answered. Every job is
    answered at most once, none is ever lost, and RQ's registries say the same as the model.
    """

    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.bench.redis.flushall()
        self.replies = self.bench.listen()
        self.consumers = [self.bench.consumer(f"w{i}") for i in range(3)]
        self.count = 0
        self.waiting: list[str] = []
        self.held: dict[str, tuple[int, TakenJob]] = {}
        self.lost: dict[str, TakenJob] = {}
        self.late: list[tuple[int, TakenJob]] = []
        self.tries: dict[str, int] = {}
        self.answered: dict[str, str] = {}

    def teardown(self) -> None:
        for index in range(3):
            self._die(index)
        while self.waiting or self.lost:
            self.recover(0)
            self.take(0, 8)
            self.finish(0, "ok")
        assert sorted(self.answered) == sorted(f"j{i}" for i in range(self.count))
        heard = self.replies.all()
        assert sorted(job_id for job_id, _ in heard) == sorted(self.answered)
        for job_id, body in heard:
            assert ("error" in body) == (self.answered[job_id] == "failed")
        self.replies.close()

    @rule(many=st.integers(1, 4))
    def enqueue(self, many: int) -> None:
        ids = [f"j{self.count + i}" for i in range(many)]
        self.count += many
        self.bench.enqueue(*ids)
        self.waiting += ids

    @rule(index=st.integers(0, 2), most=st.integers(1, 4), ahead=st.booleans())
    def take(self, index: int, most: int, ahead: bool = False) -> None:
        for job in self.consumers[index].take(most, ahead=ahead):
            assert job.job_id in self.waiting
            self.waiting.remove(job.job_id)
            self.tries[job.job_id] = self.tries.get(job.job_id, 0) + 1
            assert job.attempt == self.tries[job.job_id]
            self.held[job.job_id] = (index, job)

    @rule(index=st.integers(0, 2), how=st.sampled_from(["ok", "failed"]))
    def finish(self, index: int, how: str) -> None:
        mine = [job for owner, job in self.held.values() if owner == index]
        outcome = RESULT if how == "ok" else errors.InvalidImage("bad")
        if not mine:
            return
        assert self.consumers[index].finish([(job, outcome) for job in mine], 0.1) == [
            True for _ in mine
        ]
        for job in mine:
            del self.held[job.job_id]
            self.answered[job.job_id] = how

    def _die(self, index: int) -> None:
        for owner, job in list(self.held.values()):
            if owner == index:
                self.bench.lose(job)
                del self.held[job.job_id]
                self.lost[job.job_id] = job

    @rule(index=st.integers(0, 2))
    def die(self, index: int) -> None:
        self._die(index)

    @rule(index=st.integers(0, 2))
    def recover(self, index: int) -> None:
        again = [job_id for job_id in self.lost if self.tries[job_id] < ATTEMPTS_MAX]
        gone = [job_id for job_id in self.lost if self.tries[job_id] >= ATTEMPTS_MAX]
        assert self.consumers[index].recover() == (len(again), len(gone))
        self.waiting = again + self.waiting
        self.answered |= dict.fromkeys(gone, "failed")
        self.late += [(index, job) for job in self.lost.values()]
        self.lost.clear()

    @precondition(lambda self: self.late)
    @rule(pick=st.randoms(use_true_random=False))
    def finish_late(self, pick: random.Random) -> None:
        index, job = pick.choice(self.late)
        assert self.consumers[index].finish([(job, RESULT)], 0.1) == [False]

    @rule(index=st.integers(0, 2))
    def heartbeat(self, index: int) -> None:
        mine = [job for owner, job in self.held.values() if owner == index]
        self.consumers[index].heartbeat(mine + [job for _, job in self.late])

    @invariant()
    def rq_tells_the_same(self) -> None:
        assert sorted(self.bench.waiting()) == sorted(self.waiting)
        started = self.bench.redis.zrange("rq:wip:detections", 0, -1)
        running = [name.decode().partition(":")[0] for name in started]
        assert sorted(running) == sorted([*self.held, *self.lost])
        for kind, how in (("finished", "ok"), ("failed", "failed")):
            registered = self.bench.redis.zrange(f"rq:{kind}:detections", 0, -1)
            expected = sorted(job_id for job_id, was in self.answered.items() if was == how)
            assert sorted(name.decode() for name in registered) == expected


def test_any_order_of_events(bench: Bench) -> None:
    """Every job is answered exactly once and none is lost, whatever happens in which order."""
    from hypothesis.stateful import run_state_machine_as_test

    AnyOrder.bench = bench
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, derandomize=True,
            suppress_health_check=list(HealthCheck), database=None,
        ),
    )  # fmt: skip


def test_environment_is_clean() -> None:
    """Nothing of the caller's own configuration reaches the processes that tests start."""
    names = [name for name in environment() if name.startswith(("DAMOSCOPE_", "REDIS_URL"))]
    assert names == []
