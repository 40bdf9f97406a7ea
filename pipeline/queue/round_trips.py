"""Redis commands of concurrent requests, sent together."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

#: Round trips under way at a time. A second one keeps small commands from waiting for an image
#: that is still being sent.
TRIPS = 2

Command = tuple[Any, ...]


class RoundTrips:
    """Runs commands one by one for their callers, but in common round trips.

    What a client library spends on a round trip (a connection from the pool, timeouts, tasks)
    is several times what it spends on one more command in it. So while others are under way,
    commands gather, and make up the next. An idle frontend sends each at once.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._gathered: list[tuple[Command, asyncio.Future[Any]]] = []
        self._trips: set[asyncio.Task[None]] = set()

    async def run(self, *command: Any) -> Any:
        """The answer to one command. Raises RedisError."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._gathered.append((command, future))
        if len(self._trips) < TRIPS:
            trip = asyncio.create_task(self._travel())
            self._trips.add(trip)
            trip.add_done_callback(self._trips.discard)
        return await future

    async def _travel(self) -> None:
        while self._gathered:
            sent, self._gathered = self._gathered, []
            pipe = self._redis.pipeline(transaction=False)
            for command, _ in sent:
                pipe.execute_command(*command)
            try:
                answers = await pipe.execute(raise_on_error=False)
            except Exception as error:  # of the connection: all have it
                answers = [error] * len(sent)
            for (_, future), answer in zip(sent, answers, strict=True):
                if future.done():  # its caller has given up
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
