"""worker.decoding: each call has its time, and one that does not come back costs no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from worker.decoding import Decoders

LIMIT_S = 1.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What calls that take too long wait for."""
    event = threading.Event()
    yield event
    event.set()


def numbers(count: int) -> list[Callable[[], int]]:
    return [lambda number=number: number for number in range(count)]  # type: ignore[misc]


@pytest.mark.parametrize("threads", [1, 3])
def test_calls_in_order(threads: int) -> None:
    """Results come in the order of the calls, each with when it ran."""
    decoders = Decoders(threads, 60)
    runs = decoders.run(numbers(20))
    assert [run.result for run in runs] == list(range(20))
    assert all(0 < run.began_ns <= run.ended_ns for run in runs)
    assert decoders.stalled == 0
    decoders.close()


def test_an_error_is_one_calls_own() -> None:
    """What a call raises is its result."""

    def fail() -> int:
        raise ValueError("no")

    one, two, three = Decoders(1, 60).run([*numbers(1), fail, *numbers(1)])
    assert (one.result, three.result) == (0, 0)
    assert str(two.error) == "no"


@pytest.mark.parametrize("threads", [1, 3])
def test_calls_that_do_not_come_back(threads: int, gate: threading.Event) -> None:
    """They are left behind with a TimeoutError; those that wait behind them are run, once."""
    calls: list[int] = []

    def counted(number: int) -> int:
        calls.append(number)
        return number

    decoders = Decoders(threads, LIMIT_S)
    stuck = [lambda: bool(gate.wait(60))] * 4
    runs = decoders.run([*stuck, *(lambda n=n: counted(n) for n in range(5))])
    assert [type(run.error) for run in runs[:4]] == [TimeoutError] * 4
    assert [run.result for run in runs[4:]] == list(range(5))
    assert sorted(calls) == list(range(5))
    assert decoders.stalled == 4
    assert [run.result for run in decoders.run(numbers(3))] == [0, 1, 2]
    decoders.close()
