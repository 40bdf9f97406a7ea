"""The end of tasks that run for as long as the process does."""

from __future__ import annotations

import asyncio

#: Seconds after which a task that goes on is cancelled again.
AGAIN_S = 0.2


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: where a cancellation meets the limit of a wait, as while redis-py connects,
    it may come out as a TimeoutError, after which a loop that survives errors would go on.
    """
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=AGAIN_S)
