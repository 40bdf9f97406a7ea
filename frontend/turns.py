"""Whose image begins next."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

#: Rounds of the event loop from one turn to the next.
ROUNDS_A_TURN = 4


@dataclass(slots=True)
class _Line:
    """The requests of one client."""

    turns: deque[asyncio.Future[None]] = field(default_factory=deque)
    newest: bool = False

    def next(self) -> asyncio.Future[None]:
        """Alternately the newest and the oldest."""
        self.newest = not self.newest
        return self.turns.pop() if self.newest else self.turns.popleft()


class Turns:
    """Lets one request begin every few rounds of the event loop; clients take turns.

    What is in hand needs a dozen rounds from its first byte to its answer. Where hundreds are
    refused in each of them, it needs seconds, and is never done in time. In the rounds between,
    connections are accepted as well.

    Of one client, the newest request and the oldest have their turns alternately: if all waited in
    line while more come than can be refused, each would have its turn when its time is over.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, _Line] = OrderedDict()
        self._given = False
        self._count = 0

    def __len__(self) -> int:
        """Requests that wait for their turn."""
        return self._count

    async def mine(self, client: str) -> None:
        """Return when it is this client's turn."""
        loop = asyncio.get_running_loop()
        if not self._given:
            self._given = True
            loop.call_soon(self._next, ROUNDS_A_TURN)
            return
        turn = loop.create_future()
        self._waiting.setdefault(client, _Line()).turns.append(turn)
        self._count += 1
        try:
            await turn
        finally:
            self._count -= 1

    def _next(self, rounds: int) -> None:
        if rounds > 1:
            asyncio.get_running_loop().call_soon(self._next, rounds - 1)
            return
        while self._waiting:
            client, line = self._waiting.popitem(last=False)
            turn = line.next()
            if line.turns:
                self._waiting[client] = line
            if not turn.done():  # its request was not cancelled meanwhile
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next, ROUNDS_A_TURN)
                return
        self._given = False
