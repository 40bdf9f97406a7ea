"""The clients: those that take turns with the service (closed loop), and those that come when they
come (open loop), each with its own patience."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from run.load.connection import Broken, ClientConnection, HttpAnswer, Target, opened
from run.load.plan import Plan
from run.load.record import HUNG_UP, NO_ANSWER, Record, named

#: Seconds that a client waits beyond its timeout for the service to say that it is over.
GRACE_S = 5.0
#: Seconds that a client of a closed loop pauses where it got no answer, so that it does not spin.
AFTER_BROKEN_S = 0.1
#: Longest wait that a Retry-After is obeyed for.
RETRY_AFTER_MAX_S = 60.0
#: How often it is looked whether the generator itself is late.
PULSE_S = 0.05

Judge = Callable[[HttpAnswer], tuple[str, str]]


class Load:
    """Sends by a plan and records. `record` may be exchanged while it runs (after a warm-up)."""

    def __init__(
        self, target: Target, requests: Sequence[bytes], plan: Plan, judge: Judge = named
    ) -> None:
        self._target, self._requests, self.plan, self._judge = target, requests, plan, judge
        self._idle: deque[ClientConnection] = deque()
        self._room = asyncio.Semaphore(plan.connections)
        self._chance = random.Random(plan.seed)
        self._next = 0
        self._running: set[asyncio.Task[object]] = set()
        self._stopped = asyncio.Event()
        self.record = Record()
        self.in_flight = 0
        #: Requests that were due while every connection allowed was in use.
        self.crowded = 0
        #: Seconds that the generator's own loop stood still, by the second of the run.
        self.stalls: dict[int, float] = {}
        #: Seconds that sending took: up to the last request, without the wait for answers.
        self.sending_s = 0.0
        self.began = time.perf_counter()

    def now(self) -> float:
        """Seconds from the start."""
        return time.perf_counter() - self.began

    @property
    def done(self) -> bool:
        """Whether nothing more is sent."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Send nothing more; what is under way is still waited for."""
        self._stopped.set()

    async def run(self) -> None:
        """Until the plan is done, or stopped, and each request has ended."""
        self.began = time.perf_counter()
        pulse = asyncio.create_task(self._pulse())
        try:
            if self.plan.rate is None:
                await self._closed()
            else:
                await self._open()
            if self._running:
                await asyncio.wait(self._running)
        finally:
            pulse.cancel()
            for task in self._running:
                task.cancel()
            await asyncio.gather(pulse, *self._running, return_exceptions=True)
            while self._idle:
                self._idle.pop().close()

    async def _closed(self) -> None:
        for _ in range(self.plan.clients):
            self._begin(self.client())
        everyone = asyncio.gather(*self._running)
        everyone.add_done_callback(lambda _: self.stop())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), self.plan.duration_s)
        self.stop()
        self.sending_s = min(self.now(), self.plan.duration_s)

    async def client(self) -> None:
        """One client of a closed loop: an image, its answer, the next image."""
        while not self._stopped.is_set() and self._next < self.plan.requests:
            answer = await self._one(self.now(), 0.0)
            pause = self.plan.pause_s
            if answer is None:
                pause = max(pause, AFTER_BROKEN_S)
            elif self.plan.obey_retry_after and answer.status in (429, 503):
                pause = max(pause, _retry_after(answer))
            if pause:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), pause)

    async def _open(self) -> None:
        plan = self.plan
        assert plan.rate is not None
        for due in plan.rate.arrivals(plan.duration_s, poisson=plan.poisson, seed=plan.seed):
            if self._next >= plan.requests:
                break
            if (wait := due - self.now()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), wait)
            elif self._next % 64 == 0:
                await asyncio.sleep(0)  # behind its time: answers must be read all the same
            if self._stopped.is_set():
                break
            self._begin(self._one(due, max(0.0, self.now() - due)))
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), plan.duration_s - self.now())
        self.sending_s = self.now()
        self.stop()

    def _begin(self, work: Coroutine[None, None, object]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _one(self, due: float, late: float) -> HttpAnswer | None:
        """One request, from when it is due to its end. Its answer, unless there was none."""
        plan = self.plan
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        hangs_up = plan.hang_up_after_s is not None and self._chance.random() < plan.hang_up_share
        patience = plan.hang_up_after_s if hangs_up else plan.timeout_s + GRACE_S
        assert patience is not None
        sent, answer, detail = due, None, ""
        self.in_flight += 1
        try:
            async with asyncio.timeout(max(0.001, patience - late)):
                if self._room.locked():
                    self.crowded += 1
                async with self._room:
                    connection = await self._connected(patience)
                    sent = self.now()
                    answer = await connection.ask(request)
                    if connection.alive:
                        self._idle.append(connection)
            name, detail = self._judge(answer)
        except TimeoutError:
            name = HUNG_UP if hangs_up else NO_ANSWER
        except Broken as error:
            name = f"connection: {error}"[:80]
        finally:
            self.in_flight -= 1
        record = self.record
        record.bytes_sent += len(request)
        trace_id = ""
        if answer is not None:
            record.bytes_received += answer.size
            trace_id = answer.headers.get(b"x-trace-id", b"")[:32].decode("ascii", "replace")
        record.add(name, due, sent, self.now(), late=late, trace_id=trace_id, detail=detail)
        return answer

    async def _connected(self, patience: float) -> ClientConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        return await opened(self._target, patience)

    async def _pulse(self) -> None:
        while True:
            before = self.now()
            await asyncio.sleep(PULSE_S)
            stall = self.now() - before - PULSE_S
            second = int(before)
            self.stalls[second] = max(self.stalls.get(second, 0.0), stall)


def _retry_after(answer: HttpAnswer) -> float:
    text = answer.headers.get(b"retry-after", b"")
    return min(float(text), RETRY_AFTER_MAX_S) if text.isdigit() else 1.0
