"""Taking: who takes which jobs, and what is refused."""

from __future__ import annotations

import pickle
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from rq.job import Job
from rq.worker import BaseWorker

from pipeline import errors
from pipeline.queue.keys import TASK, image_key
from pipeline.queue.producer import Producer
from tests.pipeline.queue.bench import (
    META,
    REPLY_TO,
    Bench,
    detect_job,
)


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
