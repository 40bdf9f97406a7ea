"""pipeline.queue.clock: what is known of Redis' clock, and that only it counts in the queue."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from rq.job import Job

from pipeline.queue.clock import RedisClock
from tests.pipeline.queue.bench import RESULT, Bench
from tests.servers import RedisProcess

S = 10**9


def test_a_clock_that_agrees() -> None:
    """Round trips that allow that the clocks agree leave it at that, however long they take."""
    clock = RedisClock(ahead_ns=0)
    assert clock.seen(100, 150, 5000) == 0
    assert clock.seen(10_000, 10_000, 10_001) == 0


def test_a_clock_that_is_ahead() -> None:
    """What no round trip denies is kept, and each takes away what it denies."""
    clock = RedisClock(ahead_ns=0)
    assert clock.seen(700 * S, 0, 701 * S) == 700 * S
    assert clock.seen(800 * S, 100 * S, 900 * S) == 700 * S
    assert clock.seen(900 * S + 5, 200 * S, 900 * S + 8) == 700 * S + 5


def test_a_clock_of_which_nothing_is_known() -> None:
    """The first round trip gives its middle."""
    clock = RedisClock()
    assert clock.ahead_ns is None
    assert clock.seen(1000, 900, 1020) == 110


def test_a_clock_that_is_set() -> None:
    """When Redis' host sets its clock, the next round trip follows."""
    clock = RedisClock()
    clock.seen(1000, 1000, 1010)
    assert clock.seen(2000, 7000, 2010) == -4990


@pytest.mark.parametrize("ahead_s", [-700, -5, 5, 700])
@pytest.mark.parametrize("who", ["consumer", "producer"])
def test_only_redis_clock_counts(
    who: str, ahead_s: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a host's clock far off, waits, deadlines and what RQ reads are right all the same;
    how far it is off is known."""
    off = SimpleNamespace(
        time_ns=lambda: time.time_ns() + ahead_s * S, perf_counter_ns=time.perf_counter_ns
    )
    monkeypatch.setattr(f"pipeline.queue.{who}.time", off)
    with RedisProcess(tmp_path) as server:
        bench = Bench(server)
        began = time.time()
        bench.enqueue("a", "b")
        consumer = bench.consumer()
        taken = consumer.take(2)
        consumer.finish([(job, RESULT) for job in taken], 0.1)
        lasted_s = time.time() - began
        sign = 1 if who == "consumer" else -1
        for job in taken:
            assert not job.expired
            assert 0 <= job.taken_ns - job.enqueued_ns <= lasted_s * S
            assert job.skew_ns / S == pytest.approx(sign * ahead_s, abs=lasted_s)
            frontend = began + (ahead_s if who == "producer" else 0)
            assert frontend - 1e-3 <= job.enqueued_ns / S <= frontend + lasted_s
            assert frontend <= job.now_ns() / S <= frontend + 60
            as_rq_sees = bench.job(job.job_id)
            result = as_rq_sees.latest_result()
            assert result is not None
            for moment in (as_rq_sees.created_at, as_rq_sees.enqueued_at, as_rq_sees.started_at,
                           as_rq_sees.ended_at):  # fmt: skip
                assert moment is not None
                assert _utc(moment) == pytest.approx(began + lasted_s / 2, abs=lasted_s / 2 + 0.01)


def test_a_deadline_is_redis_own(tmp_path: Path) -> None:
    """The moment after which a job is not begun any more is told by Redis when it is enqueued."""
    with RedisProcess(tmp_path) as server:
        bench = Bench(server)
        bench.enqueue("a", ttl_s=30)
        bench.enqueue("b", ttl_s=0)
        enqueued, deadline = server.client.hmget(
            Job.key_for("a"), "damoscope_enqueued", "damoscope_deadline"
        )
        assert int(deadline) - int(enqueued) == 30_000_000
        assert [job.expired for job in bench.consumer().take(2)] == [False, True]


@pytest.mark.parametrize("field", ["damoscope_enqueued", "damoscope_deadline", "damoscope_clock"])
def test_a_job_without_our_times(tmp_path: Path, field: str) -> None:
    """A job that RQ's own tools enqueued, or whose fields are damaged, is taken all the same."""
    with RedisProcess(tmp_path) as server:
        bench = Bench(server)
        bench.enqueue("a", "b")
        server.client.hdel(Job.key_for("a"), field)
        server.client.hset(Job.key_for("b"), field, "yesterday")
        for job in bench.consumer().take(2):
            assert not job.expired
            assert 0 <= job.taken_ns - job.enqueued_ns < 60 * S


def _utc(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
