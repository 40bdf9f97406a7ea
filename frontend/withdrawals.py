"""Taking images back whose clients have hung up, or wait no longer."""

from __future__ import annotations

import asyncio
import logging

from redis.exceptions import RedisError

from pipeline.connection import explain
from pipeline.queue.producer import Producer, Withdrawn

log = logging.getLogger("damoscope.frontend")

#: Seconds that an answer waits for a withdrawal. What is not withdrawn has its deadline.
WAIT_S = 1.0


class Withdrawals:
    """Each goes on to its end, whatever becomes of who began it."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._under_way: set[asyncio.Task[Withdrawn]] = set()

    async def now(
        self, job_id: str, enqueuing: asyncio.Task[None] | None = None, *, tell: bool = False
    ) -> Withdrawn:
        """Withdraw an image, and say where it was. Raises RedisError, or TimeoutError after
        WAIT_S, in spite of which it may be withdrawn."""
        async with asyncio.timeout(WAIT_S):
            return await asyncio.shield(self._begin(job_id, enqueuing, tell))

    def later(self, job_id: str, bringing: asyncio.Task[None] | None) -> None:
        """Withdraw an image whose client is there no longer, once it has been brought to Redis:
        stored, or enqueued."""
        if bringing is not None:
            self._begin(job_id, bringing, False)

    def _begin(
        self, job_id: str, bringing: asyncio.Task[None] | None, tell: bool
    ) -> asyncio.Task[Withdrawn]:
        task = asyncio.create_task(self._withdraw(job_id, bringing, tell), name="withdrawal")
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    async def _withdraw(
        self, job_id: str, bringing: asyncio.Task[None] | None, tell: bool
    ) -> Withdrawn:
        if bringing is not None:
            await asyncio.wait([bringing])
            if not bringing.cancelled():
                bringing.exception()  # which nobody else may ask for
        return await self._producer.withdraw(job_id, tell=tell)

    def _ended(self, task: asyncio.Task[Withdrawn]) -> None:
        self._under_way.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, RedisError):
            log.warning("an image cannot be withdrawn, and has its deadline: %s", explain(error))
        else:
            log.error("an image cannot be withdrawn", exc_info=error)
