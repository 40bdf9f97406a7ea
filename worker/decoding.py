"""Decoding in threads, each image within a limit of time.

A decoder at work cannot be interrupted. One that takes too long is left behind: its image fails,
the others of the batch go on in new threads, and the worker begins anew afterwards, which ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Run(Generic[T]):
    """One call in a thread: what came of it, and when it ran by `time.perf_counter_ns`."""

    call: Callable[[], T]
    began_ns: int = 0
    ended_ns: int = 0
    result: T | None = None
    error: Exception | None = None

    def __call__(self) -> None:
        self.began_ns = time.perf_counter_ns()
        try:
            self.result = self.call()
        except Exception as error:  # whatever one image does must not stop a worker
            self.error = error
        self.ended_ns = time.perf_counter_ns()

    @property
    def running_s(self) -> float:
        """For how long it runs; 0 while it waits for its turn."""
        return (time.perf_counter_ns() - self.began_ns) / 1e9 if self.began_ns else 0.0


class Decoders:
    """Runs calls, so many at a time, and waits for each `limit_s` from its beginning."""

    def __init__(self, threads: int, limit_s: float) -> None:
        self._threads = threads
        self._limit_s = limit_s
        self._pool = self._threads_anew()
        #: Calls that were left behind and may be running still.
        self.stalled = 0

    def run(self, calls: Sequence[Callable[[], T]]) -> list[Run[T]]:
        """All calls. One that took too long has no `ended_ns`, and a TimeoutError as its error."""
        waiting: list[tuple[Run[T], Future[None]]] = []
        for call in calls:
            run = Run(call)
            waiting.append((run, self._pool.submit(run)))
        done: list[Run[T]] = []
        for index in range(len(waiting)):
            run, future = waiting[index]
            if not self._in_time(run, future):
                # What it makes later on goes to nobody.
                run = Run(run.call, began_ns=run.began_ns, error=TimeoutError())
                self._leave_behind()
                for later in range(index + 1, len(waiting)):
                    if waiting[later][1].cancel():  # it waited behind this one
                        again = waiting[later][0]
                        waiting[later] = (again, self._pool.submit(again))
            done.append(run)
        return done

    def close(self) -> None:
        """End the threads that are idle; those left behind are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _threads_anew(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, "decode")

    def _in_time(self, run: Run[T], future: Future[None]) -> bool:
        while not future.done():
            # One that waits for its turn has all of its time before it.
            left_s = self._limit_s - run.running_s
            if left_s <= 0:
                return False
            try:
                future.result(left_s)
            except TimeoutError:
                continue
        return True

    def _leave_behind(self) -> None:
        self.stalled += 1
        self._pool.shutdown(wait=False)
        self._pool = self._threads_anew()
