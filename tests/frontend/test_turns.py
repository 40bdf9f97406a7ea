"""frontend.turns: whose image begins next."""

from __future__ import annotations

import asyncio

from frontend.turns import GONE_A_ROUND, Turns


def there() -> bool:
    """Its client has not gone."""
    return False


def order(*clients: str) -> list[str]:
    """Requests of these clients that come together, numbered, as they have their turns."""
    had = []

    async def request(turns: Turns, name: str, client: str) -> None:
        await turns.mine(client, there)
        had.append(name)

    async def come() -> None:
        turns = Turns()
        await asyncio.gather(
            *(request(turns, f"{client}{n}", client) for n, client in enumerate(clients))
        )

    asyncio.run(come())
    return had


def test_the_newest_and_the_oldest_alternately() -> None:
    """Of one client, so that some are begun in time however many more come than can be."""
    assert order(*"aaaaaa") == ["a0", "a5", "a1", "a4", "a2", "a3"]


def test_clients_take_turns() -> None:
    """Whoever sends hundreds at once keeps another waiting for one of them."""
    had = order(*("a" * 200), "b")
    assert had.index("b200") <= 2
    assert len(had) == 201


def test_what_is_in_hand_goes_on_between_turns() -> None:
    """However many come, each round of the event loop sees one of them begin."""

    async def run() -> tuple[int, int]:
        turns, begun = Turns(), 0

        async def request() -> None:
            nonlocal begun
            await turns.mine("a", there)
            begun += 1

        waiting = [asyncio.create_task(request()) for _ in range(100)]
        for _ in range(10):  # what is in hand, round by round
            await asyncio.sleep(0)
        seen = begun
        await asyncio.gather(*waiting)
        return seen, begun

    seen, begun = asyncio.run(run())
    assert 5 <= seen <= 12
    assert begun == 100


def test_who_has_gone_has_no_turn() -> None:
    """A request that was cancelled while it waited keeps none of the others back."""

    async def run() -> list[int]:
        turns, had = Turns(), []

        async def request(number: int) -> None:
            await turns.mine("a", there)
            had.append(number)

        waiting = [asyncio.create_task(request(number)) for number in range(4)]
        await asyncio.sleep(0)
        assert len(turns) == 3
        waiting[1].cancel()
        waiting[3].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert len(turns) == 0
        return had

    assert asyncio.run(run()) == [0, 2]


def test_who_has_hung_up_takes_no_turn() -> None:
    """However many hang up and come again: they are given up many at a time, and the next that is
    there has its turn as soon as if they had never come."""

    async def run() -> tuple[int, list[bool]]:
        turns, rounds, done = Turns(), 0, asyncio.Event()

        async def honest() -> None:
            assert await turns.mine("b", there)
            done.set()

        assert await turns.mine("a", there)
        gone = [asyncio.create_task(turns.mine("a", lambda: True)) for _ in range(1000)]
        await asyncio.sleep(0)
        last = asyncio.create_task(honest())
        while not done.is_set():
            await asyncio.sleep(0)
            rounds += 1
        await last
        return rounds, await asyncio.gather(*gone)

    rounds, answers = asyncio.run(run())
    assert rounds <= 4 < 1000 / GONE_A_ROUND
    assert answers == [False] * 1000
