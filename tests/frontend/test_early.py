"""frontend.early: who has the next turn, and what is asked of the queue before the upload."""

from __future__ import annotations

import asyncio

import pytest

from frontend.early import ROUNDS_A_TURN, Terms, Turns, _terms


def order(*clients: str) -> list[str]:
    """Requests of these clients that come together, numbered, as they have their turns."""
    had = []

    async def request(turns: Turns, name: str, client: str) -> None:
        await turns.mine(client)
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
    """However many come, each few rounds of the event loop see one of them begin."""

    async def run() -> tuple[int, int]:
        turns, begun = Turns(), 0

        async def request() -> None:
            nonlocal begun
            await turns.mine("a")
            begun += 1

        waiting = [asyncio.create_task(request()) for _ in range(100)]
        for _ in range(10 * ROUNDS_A_TURN):  # what is in hand, round by round
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
            await turns.mine("a")
            had.append(number)

        waiting = [asyncio.create_task(request(number)) for number in range(4)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        waiting[3].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return had

    assert asyncio.run(run()) == [0, 2]


@pytest.mark.parametrize(
    ("query", "prefer", "terms"),
    [
        ("", "", Terms("normal", 30.0)),
        ("timeout=2&priority=high", "", Terms("high", 2.0)),
        ("timeout=20", "wait=5", Terms("normal", 5.0)),
        ("timeout=2", "wait=5", Terms("normal", 2.0)),
        ("timeout=2", "handling=lenient", Terms("normal", 2.0)),
        ("", "respond-async", None),  # it does not wait
        ("", "respond-async, wait=5", None),
        ("timeout=soon", "", None),  # said by who reads all parameters
        ("timeout=nan", "", None),
        ("timeout=1&timeout=2", "", None),
        ("priority=urgent", "", None),
        ("timeout=601", "", None),
        ("timeout=0", "", None),
    ],
)
def test_what_a_request_asks_for(query: str, prefer: str, terms: Terms | None) -> None:
    """Time and queue as the operation itself reads them; nothing where it would refuse, or where
    the client does not wait."""
    headers = [(b"prefer", prefer.encode())] if prefer else []
    assert _terms({"query_string": query.encode(), "headers": headers}) == terms
