"""pipeline.queue.idempotency: with one key one job is enqueued, whatever comes at the same time."""

from __future__ import annotations

import pytest

from pipeline import errors
from pipeline.job import DetectOptions
from pipeline.queue.idempotency import First, Once, fingerprint, key_of, read_value, value_of
from tests.pipeline.queue.bench import META, REPLY_TO, Bench, detect_job

KEY = key_of("key:cam", "1")
MARK, OTHER_MARK = "a" * 64, "b" * 64


def enqueue(bench: Bench, job_id: str, once: Once) -> First | None:
    first: First | None = bench.ask(
        lambda producer: producer.enqueue(
            job_id, detect_job(), priority="normal", meta=META, reply_to=REPLY_TO, once=once
        )
    )
    return first


def test_the_second_gets_the_first(bench: Bench) -> None:
    """Nothing of it is stored, whatever it asks for; with another key it is a job of its own."""
    assert bench.ask(lambda producer: producer.first(KEY)) is None
    assert enqueue(bench, "a", Once(KEY, MARK)) is None
    first = First("a", MARK)
    assert bench.ask(lambda producer: producer.first(KEY)) == first
    assert enqueue(bench, "b", Once(KEY, MARK)) == first
    assert enqueue(bench, "b", Once(KEY, OTHER_MARK)) == first
    assert not bench.redis.exists("rq:job:b")
    assert enqueue(bench, "c", Once(key_of("key:cam", "2"), MARK)) is None
    assert bench.waiting() == ["a", "c"]
    assert 3590 < bench.redis.ttl(KEY) <= 3600


def test_asked_again_for_the_same(bench: Bench) -> None:
    """A command that is sent anew, because the answer was lost with the connection, enqueues
    nothing a second time."""
    for _ in range(2):
        assert enqueue(bench, "a", Once(KEY, MARK)) is None
    assert bench.waiting() == ["a"]


def test_in_place_of_one_that_came_to_nothing(bench: Bench) -> None:
    """Unless another has come in its place meanwhile."""
    enqueue(bench, "a", Once(KEY, MARK))
    bench.ask(lambda producer: producer.withdraw("a"))
    assert enqueue(bench, "b", Once(KEY, MARK, given_up="a")) is None
    assert enqueue(bench, "c", Once(KEY, MARK, given_up="a")) == First("b", MARK)
    assert bench.waiting() == ["b"]


def test_a_queue_that_is_full(bench: Bench) -> None:
    """Who is refused has left nothing; who came before is still known."""
    bench.queue_max = 1
    enqueue(bench, "a", Once(KEY, MARK))
    other = key_of("key:cam", "2")
    with pytest.raises(errors.Unavailable):
        enqueue(bench, "b", Once(other, MARK))
    assert not bench.redis.exists(other)
    assert enqueue(bench, "c", Once(KEY, MARK)) == First("a", MARK)


def test_something_else_under_its_name(bench: Bench) -> None:
    """It stands for nothing, and the job takes its place."""
    bench.redis.rpush(KEY, "x")
    assert bench.ask(lambda producer: producer.first(KEY)) is None
    assert enqueue(bench, "a", Once(KEY, MARK)) is None
    assert bench.ask(lambda producer: producer.first(KEY)) == First("a", MARK)
    bench.redis.set(KEY, "x" * 10_000)
    assert bench.ask(lambda producer: producer.first(KEY)) is None
    assert enqueue(bench, "b", Once(KEY, MARK)) is None
    assert bench.waiting() == ["a", "b"]


def test_keys_of_owners() -> None:
    """No key of one owner is that of another."""
    keys = {key_of(*each) for each in (("a", "b"), ("ab", ""), ("", "ab"), ("b", "a"))}
    assert len(keys) == 4


def test_fingerprints() -> None:
    """They tell images and parameters apart, and nothing else."""
    same = {
        fingerprint(b"1", DetectOptions(labels=labels), "normal")
        for labels in (("A", "b"), ("B", "a"), ("a", "b", "A"))
    }
    assert len(same) == 1
    others = {
        fingerprint(b"1", DetectOptions(), "normal"),
        fingerprint(b"1", DetectOptions(labels=("a",)), "normal"),
        fingerprint(b"1", DetectOptions(score_threshold=0.5), "normal"),
        fingerprint(b"1", DetectOptions(iou_threshold=0.5), "normal"),
        fingerprint(b"1", DetectOptions(max_detections=7), "normal"),
        fingerprint(b"1", DetectOptions(), "high"),
        fingerprint(b"2", DetectOptions(), "normal"),
    }
    assert len(others | same) == 8


@pytest.mark.parametrize(
    "value", [None, b"", b"x", b"a b", b"a " + b"g" * 64, b"a/b " + b"a" * 64, b"\xff" * 97]
)
def test_values_of_others(value: bytes | None) -> None:
    """What is none of ours stands for nothing."""
    assert read_value(value) is None
    assert read_value(value_of(First("a", MARK))) == First("a", MARK)
