"""What a running service says of its workers."""

from __future__ import annotations

import asyncio

from redis.exceptions import RedisError

from pipeline.connection import connect_async, explain, with_redis
from pipeline.queue.workers import WorkerState, look
from pipeline.settings import Settings

#: Seconds to ask a running service what runs.
ASK_S = 5.0


def running(settings: Settings) -> tuple[tuple[WorkerState, ...], str]:
    """The workers of the service that these settings reach, and why they are not known, if so."""
    reached = with_redis(settings)
    if reached is None:
        return (), "no service runs in this data folder, and REDIS_URL is not set"

    async def ask() -> tuple[WorkerState, ...]:
        redis = connect_async(reached)
        try:
            return (await asyncio.wait_for(look(redis), ASK_S)).workers
        finally:
            await redis.aclose()

    try:
        return asyncio.run(ask()), ""
    except (RedisError, OSError) as error:
        return (), explain(error)
