"""Memory is given out in order, within what all and each may have."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from frontend.server.memory import Memory, Share

T = TypeVar("T")
#: Seconds: too few to wait in vain, and more than any test takes.
NOT_LONG, LONG = 0.01, 60.0


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def test_nobody_gets_more_than_there_is() -> None:
    """What does not fit waits, and is refused when its time is over."""

    async def work() -> list[bool]:
        memory = Memory(100, 100)
        asked = [await memory.take(Share(name), 40, NOT_LONG) for name in "abc"]
        assert memory.taken == 80
        return asked

    assert run(work()) == [True, True, False]


def test_who_waits_gets_what_was_given_back() -> None:
    """In the order in which it was asked for: a small one does not pass a large one for ever."""

    async def work() -> list[str]:
        memory, order = Memory(100, 100), []
        first = Share("a")
        await memory.take(first, 90, NOT_LONG)

        async def ask(name: str, size: int) -> None:
            assert await memory.take(Share(name), size, LONG)
            order.append(name)

        async with asyncio.TaskGroup() as group:
            for name, size in (("large", 60), ("small", 10)):
                group.create_task(ask(name, size))
                await asyncio.sleep(0)
            assert order == []
            memory.free(first)
        return order

    assert run(work()) == ["large", "small"]


def test_a_client_has_its_part_and_no_more() -> None:
    """It waits for itself; others pass it."""

    async def work() -> tuple[bool, bool]:
        memory = Memory(100, 25)
        held = Share("greedy")
        assert await memory.take(held, 25, NOT_LONG)
        waiting = asyncio.create_task(memory.take(Share("greedy"), 20, LONG))
        await asyncio.sleep(0)
        other = await memory.take(Share("other"), 25, NOT_LONG)
        memory.free(held)
        return await waiting, other

    assert run(work()) == (True, True)


def test_a_share_is_given_back_once() -> None:
    """Twice does no harm, and a client of whom nothing is left is forgotten."""

    async def work() -> Memory:
        memory = Memory(100, 50)
        share = Share("a")
        await memory.take(share, 30, NOT_LONG)
        await memory.take(share, 10, NOT_LONG)
        memory.free(share)
        memory.free(share)
        assert await memory.take(Share("a"), 50, NOT_LONG)
        return memory

    assert run(work()).taken == 50


def test_who_stops_waiting_leaves_the_line() -> None:
    """A client that goes away keeps nobody waiting who stands behind it."""

    async def work() -> bool:
        memory = Memory(100, 100)
        held = Share("a")
        await memory.take(held, 60, NOT_LONG)
        gone = asyncio.create_task(memory.take(Share("gone"), 90, LONG))
        behind = asyncio.create_task(memory.take(Share("b"), 40, LONG))
        await asyncio.sleep(0)
        gone.cancel()
        return await behind

    assert run(work())


class Slow:
    """An upload that comes at this pace."""

    def __init__(self, pace: float) -> None:
        self.pace, self.ended = pace, False

    def give_up_for_memory(self) -> None:
        self.ended = True


def test_the_slowest_is_given_up_while_somebody_waits() -> None:
    """Never one that comes fast enough, nor anybody while there is room."""

    async def work() -> list[bool]:
        memory = Memory(100, 100)
        uploads = [Slow(200.0), Slow(100.0), Slow(1e6)]
        for upload in uploads:
            await memory.take(Share("a", upload=upload), 30, NOT_LONG)
        memory.squeeze()
        assert not any(upload.ended for upload in uploads)
        waiting = asyncio.create_task(memory.take(Share("b"), 30, LONG))
        await asyncio.sleep(0)
        memory.squeeze()
        waiting.cancel()
        return [upload.ended for upload in uploads]

    assert run(work()) == [False, True, False]
