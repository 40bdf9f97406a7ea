"""Waiting for results: one subscription per frontend process, no polling per request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass, field
from itertools import islice

from redis.asyncio import Redis
from redis.exceptions import RedisError

from frontend import tasks
from pipeline import errors
from pipeline.complaints import complaints
from pipeline.job import JobError, JobState
from pipeline.queue.keys import REPLY_CHANNEL
from pipeline.queue.malformed import Tally, nobody
from pipeline.queue.messages import Reply, read_reply

log = logging.getLogger("damoscope.frontend")

#: Seconds after which a silent job's state is looked up, in case its reply was lost.
SWEEP_AFTER_S = 2.0
SWEEP_EVERY_S = 1.0
SWEEP_MOST = 256


async def _as_it_came(message: list[object]) -> list[object]:
    """redis-py's own handler makes a text of each message, for a log line that nobody reads."""
    return message


@dataclass(slots=True)
class Awaited:
    """A job that somebody waits for."""

    #: By `time.monotonic`: since when it is silent.
    since_s: float = math.inf
    #: One of each request: several, where a client has sent it again.
    futures: list[asyncio.Future[Reply]] = field(default_factory=list)


class Replies:
    """Futures of the jobs that this process waits for.

    Redis may drop a published reply (a lost connection); jobs that stay silent are looked
    up once a second, all in a row, so that none waits for a reply that was given.
    """

    def __init__(
        self,
        redis: Redis,
        instance: str,
        lookup: Callable[[str], Awaitable[JobState]],
        tally: Tally = nobody,
    ) -> None:
        self._tally = tally
        self.channel = REPLY_CHANNEL.format(instance)
        self._redis = redis
        self._lookup = lookup
        self._waiting: dict[str, Awaited] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Subscribe, and begin to listen."""
        self._tasks = [
            asyncio.create_task(self._listen(), name="replies"),
            asyncio.create_task(self._sweep(), name="replies-sweep"),
        ]

    async def close(self) -> None:
        """Stop listening; who still waits is told that the service stops."""
        await tasks.end(*self._tasks)

    def expect(self, job_id: str) -> asyncio.Future[Reply]:
        """A future for a job's reply; call it before the job is enqueued, or `look` for one that
        was before."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, Awaited()).futures.append(future)
        return future

    def enqueued(self, job_id: str) -> None:
        """The job exists: from now on it can be looked up, should it stay silent."""
        if waiting := self._waiting.get(job_id):
            waiting.since_s = min(waiting.since_s, time.monotonic())

    async def look(self, job_id: str) -> None:
        """A job that others have enqueued, perhaps long ago: it may be done, and its reply may go
        to another process, so that it is looked up now, and as long as somebody waits for it.
        Raises RedisError."""
        if waiting := self._waiting.get(job_id):
            waiting.since_s = -math.inf
            await self._look_up(job_id)

    def forget(self, job_id: str, future: asyncio.Future[Reply]) -> None:
        """A request waits for this job no longer."""
        waiting = self._waiting.get(job_id)
        if waiting and future in waiting.futures:
            waiting.futures.remove(future)
            if not waiting.futures:
                del self._waiting[job_id]

    def abandon(self, error: errors.DamoscopeError) -> None:
        """Give every waiting request this error."""
        for waiting in self._waiting.values():
            for future in waiting.futures:
                if not future.done():
                    future.set_exception(copy(error))  # of which each says its job's address

    def _resolve(self, job_id: str, reply: Reply) -> None:
        waiting = self._waiting.pop(job_id, None)
        for future in waiting.futures if waiting else ():
            if not future.done():
                future.set_result(reply)

    async def _listen(self) -> None:
        while True:
            pubsub = self._redis.pubsub(
                ignore_subscribe_messages=True, push_handler_func=_as_it_came
            )
            try:
                await pubsub.subscribe(self.channel)
                while True:
                    message = await pubsub.get_message(timeout=None)
                    if message is not None:
                        self._hear(message)
            except (RedisError, OSError) as error:
                complaints.of_redis(log, error, "the reply channel", "subscribing again")
                await asyncio.sleep(1.0)
            except Exception:  # whatever it is, replies must be heard
                if complaints.due("the reply channel"):
                    log.exception("the reply channel is interrupted; subscribing again")
                await asyncio.sleep(1.0)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _hear(self, message: dict[str, object]) -> None:
        """Give a reply to who waits for it. One that cannot be read is none: the job is looked up
        before long."""
        try:
            job_id, reply = read_reply(message["data"])  # type: ignore[arg-type]
        except (ValueError, TypeError):
            self._tally("reply", 1)
        else:
            self._resolve(job_id, reply)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            silent_since = time.monotonic() - SWEEP_AFTER_S
            silent = (job for job, each in self._waiting.items() if each.since_s < silent_since)
            for job_id in list(islice(silent, SWEEP_MOST)):
                try:
                    await self._look_up(job_id)
                except (RedisError, OSError) as error:  # of the others as well
                    complaints.of_redis(log, error, "looking for results")
                    break
                except Exception:  # of one job, which must not keep the others waiting
                    if complaints.due("looking for results"):
                        log.exception("job %s cannot be looked up", job_id)

    async def _look_up(self, job_id: str) -> None:
        try:
            state = await self._lookup(job_id)
        except errors.NotFound as error:
            gone = JobError(code=errors.JobExpired.code, message=str(error))
            self._resolve(job_id, Reply(error=gone))
        else:
            if state.result is not None or state.error is not None:
                self._resolve(state.job_id, read_state(state))


def read_state(state: JobState) -> Reply:
    """The reply that a job which has ended gave."""
    if state.result is None:
        return Reply(error=state.error)
    return Reply(state.result.model_dump(), len(state.result.detections))
