"""Whose image begins next."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

#: Requests whose client has gone that are given up in one round.
GONE_A_ROUND = 16


class _InLine(NamedTuple):
    """A request that waits. The future says whether its client is still there."""

    turn: asyncio.Future[bool]
    gone: Callable[[], bool]


@dataclass(slots=True)
class _Line:
    """The requests of one client."""

    waiting: deque[_InLine] = field(default_factory=deque)
    newest: bool = False

    def next(self) -> _InLine:
        """Alternately the newest and the oldest."""
        self.newest = not self.newest
        return self.waiting.pop() if self.newest else self.waiting.popleft()


class Turns:
    """Lets one request begin in each round of the event loop; clients take turns.

    What is in hand needs a dozen rounds from its first byte to its answer. Where hundreds are
    refused in each of them, it needs seconds, and is never done in time. Requests whose client has
    gone take no turn: those of clients that hang up would come faster than turns do, and hold all
    connections.

    Of one client, the newest request and the oldest have their turns alternately: if all waited in
    line while more come than can be refused, each would have its turn when its time is over.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._given = False
        self._count = 0

    def __len__(self) -> int:
        """Requests that wait for their turn."""
        return self._count

    async def mine(self, client: str, gone: Callable[[], bool]) -> bool:
        """True when it is this client's turn; False when it has gone before that."""
        loop = asyncio.get_running_loop()
        if not self._given:
            if gone():
                return False
            self._given = True
            loop.call_soon(self._next)
            return True
        waiting = _InLine(loop.create_future(), gone)
        self._lines.setdefault(client, _Line()).waiting.append(waiting)
        self._count += 1
        try:
            return await waiting.turn
        finally:
            self._count -= 1

    def _next(self) -> None:
        loop, given_up = asyncio.get_running_loop(), 0
        while self._lines:
            client, line = self._lines.popitem(last=False)
            turn, gone = line.next()
            if line.waiting:
                self._lines[client] = line
            if turn.done():  # its request was cancelled meanwhile
                continue
            there = not gone()
            turn.set_result(there)
            if there:
                loop.call_soon(self._next)
                return
            given_up += 1
            if given_up == GONE_A_ROUND:
                loop.call_soon(self._next)
                return
        self._given = False
