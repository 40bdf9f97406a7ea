"""Tests of `frontend.tasks`."""

from __future__ import annotations

import asyncio

from frontend import tasks


def test_a_cancellation_that_is_lost() -> None:
    """A loop that took one cancellation for an error of its own still ends."""
    lost = 0

    async def loop() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    async def main() -> None:
        task = asyncio.create_task(loop())
        await asyncio.sleep(0)
        await asyncio.wait_for(tasks.end(task), 60)
        assert task.cancelled()

    asyncio.run(main())
    assert lost == 1
