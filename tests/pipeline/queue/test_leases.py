"""Leases: what becomes of jobs whose worker was lost."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from rq import Worker
from rq.job import JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from pipeline import errors
from pipeline.queue.keys import WORKERS_KEY
from tests.pipeline.queue.bench import (
    ATTEMPTS_MAX,
    HELD_S,
    RESULT,
    Bench,
    Replies,
)
from tests.servers import run


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
