"""What became of each image that the service has taken: answered, lost, or answered twice.

Every other request does not wait for its answer: what was accepted then is known by its address
even if the frontend that said so dies in the next moment, and is asked for until there is a result.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from redis import Redis
from redis.exceptions import RedisError

from run.load.connection import Broken, ClientConnection, HttpAnswer, Target, opened
from run.load.record import named

#: Seconds after which an image is first asked for, and between two rounds of asking.
FIRST_S, ROUND_S = 2.0, 1.0
#: Seconds after its first result at which it is looked whether a job has got another: long after
#: every lease, and long before results are forgotten. At the end it is looked for all.
COUNTED_S = 600.0
#: Connections that ask, and seconds for one answer.
ASKERS, ANSWER_S = 4, 10.0
#: Results that are counted in one round trip to Redis.
PART = 500
PENDING = ("queued", "started")
_JOB_ID = re.compile(rb'"job_id"\s*:\s*"([0-9a-f-]{8,64})"')


@dataclass
class Account:
    """Images, by what became of them. `accepted` is `answered` and `lost`, once all is over."""

    #: Answered while their clients waited (200).
    at_once: int = 0
    #: Taken from clients that do not wait (202), and what came of that.
    accepted: int = 0
    answered: int = 0
    lost: int = 0
    #: Whose results there are two of, at once or later.
    doubled: int = 0
    #: What was said of those that were lost, and how often.
    reasons: dict[str, int] = field(default_factory=dict)


class Ledger:
    """`judge` is told every answer of a load; `settle` runs beside it."""

    def __init__(self, target: Target, redis: Redis) -> None:
        self._target, self._redis = target, redis
        self._pending: deque[tuple[str, float]] = deque()
        #: Jobs that have a result, and since when; how many there are is still to be counted.
        self._done: deque[tuple[str, float]] = deque()
        self._reasons: Counter[str] = Counter()
        self.account = Account(reasons=self._reasons)

    def judge(self, answer: HttpAnswer) -> tuple[str, str]:
        """The name of an answer's outcome, as `damoscope load` has it."""
        if answer.status == 202:
            place = answer.headers.get(b"location", b"").decode("ascii", "replace")
            self.account.accepted += 1
            self._pending.append((place, time.monotonic()))
        elif answer.status == 200 and (found := _JOB_ID.search(answer.body)):
            self.account.at_once += 1
            self._done.append((found[1].decode(), time.monotonic()))
        return named(answer)

    async def settle(self, over: asyncio.Event, patience_s: float) -> None:
        """Ask for what was accepted, until `over` is set and all is known.

        What has no result `patience_s` after that is lost, and said to be what it last was.
        """
        ends = float("inf")
        while True:
            due, last = self._due(), dict[str, str]()
            if due:
                parts = [due[number::ASKERS] for number in range(ASKERS)]
                await asyncio.gather(*(self._ask(part, last) for part in parts))
            await asyncio.to_thread(self._count, COUNTED_S)
            if over.is_set():
                ends = min(ends, time.monotonic() + patience_s)
                late = time.monotonic() > ends
                if late:
                    self._give_up(last)
                if not self._pending:
                    await asyncio.to_thread(self._count, 0.0)
                    if not self._done:
                        return
                    if late:
                        raise RuntimeError(f"Redis does not say the results of {len(self._done)}")
            await asyncio.sleep(ROUND_S)

    def _due(self) -> list[tuple[str, float]]:
        now, found = time.monotonic(), []
        for _ in range(len(self._pending)):
            each = self._pending.popleft()
            (found if now - each[1] >= FIRST_S else self._pending).append(each)
        return found

    async def _ask(self, part: list[tuple[str, float]], last: dict[str, str]) -> None:
        connection: ClientConnection | None = None
        for number, (place, since) in enumerate(part):
            try:
                if connection is None or not connection.alive:
                    connection = await opened(self._target, ANSWER_S)
                async with asyncio.timeout(ANSWER_S):
                    state = _state(await connection.ask(self._get(place)))
            except (Broken, TimeoutError) as error:  # the frontend was killed: asked again
                for left, began in part[number:]:
                    last[left] = f"no answer: {error or 'not in time'}"
                    self._pending.append((left, began))
                break
            if state == "finished":
                self.account.answered += 1
                self._done.append((place.rpartition("/")[2], time.monotonic()))
            elif state in PENDING:
                last[place] = state
                self._pending.append((place, since))
            else:
                self._lose(state)
        if connection is not None:
            connection.close()

    def _get(self, place: str) -> bytes:
        lines = f"GET {place} HTTP/1.1\r\nhost: {self._target.authority}\r\n"
        return f"{lines}accept: application/json\r\n\r\n".encode("ascii")

    def _count(self, after_s: float) -> None:
        """How many results Redis has of each job that was done `after_s` ago."""
        until = time.monotonic() - after_s
        while part := [job for job, since in list(self._done)[:PART] if since <= until]:
            try:
                pipeline = self._redis.pipeline(transaction=False)
                for job in part:
                    pipeline.xlen(f"rq:results:{job}")
                counts = pipeline.execute()
            except (RedisError, OSError):
                return  # it was killed: they are counted in the next round
            self.account.doubled += sum(1 for count in counts if count > 1)
            for _ in part:
                self._done.popleft()

    def _give_up(self, last: dict[str, str]) -> None:
        for place, _ in self._pending:
            self._lose(last.get(place, "never asked for"))
        self._pending.clear()

    def _lose(self, why: str) -> None:
        self.account.lost += 1
        self._reasons[why] += 1


def _state(answer: HttpAnswer) -> str:
    """A job's status, or `queued` where a refusal says that it cannot be told now."""
    if answer.status in (429, 502, 503, 504):
        return "queued"
    try:
        document = json.loads(answer.body)
        if answer.status == 200:
            return str(document["status"])
        return f"{answer.status} {document['type']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status}"
