"""The memory that bodies of requests may take, all together and each client's."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from frontend.server.bounds import RATE_WHEN_SCARCE


class Sender(Protocol):
    """A connection whose request's body takes memory."""

    #: Bytes a second at which its body came lately.
    pace: float

    def give_up_for_memory(self) -> None:
        """End it, so that its memory is free."""


@dataclass(eq=False)
class Share:
    """Memory that was given to one request. Its size may grow, and is 0 once it was given back."""

    client: str
    size: int = 0
    upload: Sender | None = None


@dataclass(eq=False)
class _Waiting:
    share: Share
    more: int
    given: asyncio.Future[None]


class Memory:
    """Gives out memory in the order in which it is asked for; who must wait waits in line.

    A client that has its part waits for itself only: others pass it.
    """

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each = total, each
        #: Bytes that are given out.
        self.taken = 0
        self._by_client: Counter[str] = Counter()
        self._shares: set[Share] = set()
        self._line: list[_Waiting] = []

    async def take(self, share: Share, more: int, wait_s: float) -> bool:
        """`more` bytes for a share. False when there were none within `wait_s` seconds."""
        if not self._line and self._fits(share.client, more):
            self._give(share, more)
            return True
        waiting = _Waiting(share, more, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._serve()
        try:
            async with asyncio.timeout(wait_s):
                await waiting.given
        except TimeoutError:
            return False
        finally:
            if waiting in self._line:
                self._line.remove(waiting)
                self._serve()  # whoever stood behind it
        return True

    def free(self, share: Share) -> None:
        """Take a share back; doing so twice does no harm."""
        self.taken -= share.size
        self._by_client[share.client] -= share.size
        if self._by_client[share.client] <= 0:
            del self._by_client[share.client]
        share.size = 0
        self._shares.discard(share)
        self._serve()

    def squeeze(self) -> None:
        """While somebody waits, give up what comes slowest: called once a second."""
        for waiting in list(self._line):
            if waiting.given.done():
                continue
            own = self._by_client[waiting.share.client] + waiting.more > self.each
            slow = [
                share
                for share in self._shares
                if share.upload is not None
                and share.upload.pace < RATE_WHEN_SCARCE
                and (not own or share.client == waiting.share.client)
            ]
            if slow:
                victim = min(slow, key=lambda share: share.upload.pace if share.upload else 0.0)
                upload, victim.upload = victim.upload, None
                assert upload is not None
                upload.give_up_for_memory()

    def _fits(self, client: str, more: int) -> bool:
        return self.taken + more <= self.total and self._by_client[client] + more <= self.each

    def _give(self, share: Share, more: int) -> None:
        share.size += more
        self.taken += more
        self._by_client[share.client] += more
        self._shares.add(share)

    def _serve(self) -> None:
        left = []
        room = True
        for waiting in self._line:
            if waiting.given.done():  # it was cancelled, and leaves by itself
                continue
            own = self._by_client[waiting.share.client] + waiting.more > self.each
            room = room and (own or self.taken + waiting.more <= self.total)
            if own or not room:
                left.append(waiting)
                continue
            self._give(waiting.share, waiting.more)
            waiting.given.set_result(None)
        self._line = left
