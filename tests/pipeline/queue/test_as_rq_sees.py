"""One job's way as RQ's own classes and tools see it, and what is read of its failures."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from redis.exceptions import ResponseError
from rq import Worker
from rq.executions import Execution
from rq.job import JobStatus
from rq.queue import Queue
from rq.results import Result
from rq.serializers import JSONSerializer

from pipeline import errors
from pipeline.job import DetectJob
from pipeline.queue.keys import image_key
from pipeline.queue.messages import error_from_exc_string
from tests.pipeline.queue.bench import (
    ATTEMPTS_MAX,
    META,
    REPLY_TO,
    RESULT,
    Bench,
    Replies,
)
from tests.servers import run


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
