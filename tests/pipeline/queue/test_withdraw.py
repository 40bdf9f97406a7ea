"""pipeline.queue: images that are taken back, wherever they are, as RQ's own classes see it."""

from __future__ import annotations

from typing import Any

from rq.job import JobStatus
from rq.registry import CanceledJobRegistry
from rq.serializers import JSONSerializer

from pipeline.queue.consumer import Stored
from pipeline.queue.keys import image_key
from tests.pipeline.queue.bench import RESULT, Bench


def withdraw(bench: Bench, job_id: str, *, tell: bool = False) -> Any:
    return bench.ask(lambda producer: producer.withdraw(job_id, tell=tell))


def canceled(bench: Bench) -> list[str]:
    registry = CanceledJobRegistry("detections", connection=bench.redis, serializer=JSONSerializer)
    found: list[str] = registry.get_job_ids()
    return found


def test_one_that_waits(bench: Bench) -> None:
    """It leaves its queue and Redis' memory, whatever its priority; RQ shows it as canceled, for a
    while. A second time changes nothing."""
    bench.enqueue("a", "b")
    bench.enqueue("c", priority="low")
    assert withdraw(bench, "a") == withdraw(bench, "c") == "queued"
    assert withdraw(bench, "a") == "canceled"
    assert (bench.waiting(), bench.waiting("detections-low")) == (["b"], [])
    assert not bench.redis.exists(image_key("a"), image_key("c"))
    assert bench.job("a").get_status() == JobStatus.CANCELED
    assert canceled(bench) == ["a"]
    assert 0 < bench.redis.ttl(bench.job("a").key) <= 3600
    assert bench.state("a").status == "cancelled"
    assert [job.job_id for job in bench.consumer().take(4)] == ["b"]


def test_one_that_a_worker_has_begun(bench: Bench) -> None:
    """It is cancelled from then on; what the worker makes of it is dropped, and nobody is told."""
    replies = bench.listen()
    bench.enqueue("a", "b")
    consumer = bench.consumer()
    first, second = consumer.take(2)
    assert withdraw(bench, "a") == "started"
    assert withdraw(bench, "a") == "canceled"
    assert bench.state("a").status == "cancelled"
    stored = consumer.finish([(first, RESULT), (second, RESULT)], 0.1)
    assert stored == [Stored.WITHDRAWN, Stored.STANDS]
    assert bench.job("a").get_status() == JobStatus.CANCELED
    assert bench.job("a").latest_result() is None
    assert bench.job("a").get_executions() == []
    assert bench.registries() == ([], ["b"], [])
    assert canceled(bench) == ["a"]
    assert [job_id for job_id, _ in replies.all()] == ["b"]
    assert not bench.redis.exists(image_key("a"))
    assert bench.state("a").status == "cancelled"
    replies.close()


def test_one_whose_worker_died(bench: Bench) -> None:
    """It is not tried again."""
    bench.enqueue("a")
    (taken,) = bench.consumer().take(1)
    withdraw(bench, "a")
    bench.lose(taken)
    assert bench.consumer("w2").recover() == (0, 0)
    assert bench.waiting() == []
    assert bench.registries() == ([], [], [])
    assert (canceled(bench), bench.state("a").status) == (["a"], "cancelled")


def test_one_that_is_done(bench: Bench) -> None:
    """It keeps its result; of a job that never was nothing is left either."""
    bench.enqueue("a")
    consumer = bench.consumer()
    consumer.finish([(consumer.take(1)[0], RESULT)], 0.1)
    assert withdraw(bench, "a") == "ended"
    assert bench.state("a").status == "finished"
    bench.redis.set(image_key("x"), "an image whose job was never enqueued")
    assert withdraw(bench, "x") == "gone"
    assert not bench.redis.exists(image_key("x"))


def test_who_waits_is_told(bench: Bench) -> None:
    """Where somebody else withdraws it; on no channel but a frontend's."""
    replies = bench.listen()
    bench.enqueue("a", "b", "c")
    bench.redis.hset("rq:job:c", "damoscope_reply", "somewhere")
    withdraw(bench, "a")
    withdraw(bench, "b", tell=True)
    withdraw(bench, "c", tell=True)
    assert [(job_id, body["error"]["code"]) for job_id, body in replies.all()] == [
        ("b", "cancelled")
    ]
    replies.close()


def test_in_a_redis_that_is_full(bench: Bench) -> None:
    """Withdrawing needs no memory that Redis refuses: it is what makes room."""
    bench.enqueue("a", "b")
    (taken,) = bench.consumer().take(1)
    bench.redis.config_set("maxmemory-policy", "noeviction")
    bench.redis.config_set("maxmemory", 1)
    try:
        assert withdraw(bench, "b") == "queued"
        assert withdraw(bench, taken.job_id) == "started"
    finally:
        bench.redis.config_set("maxmemory", 0)
    assert bench.waiting() == []


def test_something_else_under_its_name(bench: Bench) -> None:
    """Keys of other types are no reason to fail."""
    bench.enqueue("a")
    bench.redis.set("rq:canceled:detections", "x")
    assert withdraw(bench, "a") == "queued"
    assert canceled(bench) == ["a"]
    bench.redis.set("rq:job:b", "x")
    assert withdraw(bench, "b") == "gone"
