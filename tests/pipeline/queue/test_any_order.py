"""Jobs enqueued, taken, finished, lost and recovered in any order."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline import errors
from pipeline.queue.consumer import TakenJob
from tests.pipeline.queue.bench import (
    ATTEMPTS_MAX,
    RESULT,
    Bench,
)


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
