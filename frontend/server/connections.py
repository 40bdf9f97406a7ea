"""All connections of one frontend: how many there may be, and which make room for new ones."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from ipaddress import ip_network
from typing import Protocol

from frontend.edge.networks import network_of, parsed
from frontend.server.bounds import Bounds
from frontend.server.memory import Memory
from pipeline import errors

log = logging.getLogger("damoscope.frontend")

#: Seconds between two looks at all connections, and between two lines of the log about them.
LOOK_S, SAY_S = 1.0, 60.0
#: Seconds in which a client that has just come is not asked to make room, if others can.
NEW_S = 1.0
#: Of all connections, so many (one in) are closed together when there is no room.
ROOM = 32
#: Seconds for which nobody is asked again to make room, once nobody could.
FULL_S = 0.05


class ConnectionState(IntEnum):
    """What a connection does; those that come first make room first."""

    ENDING = 0
    #: No whole header has come yet.
    HEADER = 1
    #: Kept between two requests.
    IDLE = 2
    #: A header has come, and not all of the body.
    BODY = 3
    #: A whole request has come, and not all of the answer has gone. It is never closed for others.
    ANSWER = 4


class Connection(Protocol):
    """What is asked of a connection."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop

    def keep_no_longer(self) -> None:
        """Close after the answer that is due."""

    def standing(self) -> tuple[ConnectionState, float]:
        """What it does, and since when."""

    def look(self, now: float) -> None:
        """End it where a limit has passed."""

    def refuse(self, error: errors.DamoscopeError, reason: str) -> None:
        """Answer with this error, and close."""


class Connections:
    """Keeps count of connections, in total and by address, and looks at all of them.

    Where there is no room for a new one, those that have not sent a whole request make it, of
    the address that has most of them first, the longest first. One that sent a whole request
    keeps its place until it has its answer.
    """

    def __init__(self, bounds: Bounds, memory: Memory, trusted: str | None = None) -> None:
        """`trusted`: addresses and networks of proxies, which have many clients each."""
        self._bounds, self._memory = bounds, memory
        self._trusted = [
            ip_network(each.strip(), strict=False) for each in (trusted or "").split(",") if each
        ]
        self._places: dict[Connection, str] = {}
        self._by_place: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._looking: asyncio.TimerHandle | None = None
        self._said_at = self._full_until = 0.0
        #: Whether connections are kept after an answer no more.
        self.ending = False

    def __len__(self) -> int:
        return len(self._places)

    def admit(self, connection: Connection, address: str) -> bool:
        """Take in a new connection. False when it has to be refused."""
        place = self._place(address)
        self._places[connection] = place
        self._by_place[place] += 1
        if self._looking is None:
            self._said_at = connection.loop.time()
            self._looking = connection.loop.call_later(LOOK_S, self._look, connection.loop)
        if place and self._by_place[place] > self._bounds.connections_each:
            mates = (each for each, at in self._places.items() if at == place)
            self._make_room(connection, mates, "too many of one address")
            return self._by_place[place] <= self._bounds.connections_each
        if len(self._places) > self._bounds.connections:
            most, count = max(self._by_place.items(), key=lambda item: item[1])
            if most and count > self._bounds.connections // 4:
                theirs = [each for each, at in self._places.items() if at == most]
                self._make_room(connection, theirs, "too many in all")
            if len(self._places) > self._bounds.connections:
                self._make_room(connection, self._places, "too many in all")
        return len(self._places) <= self._bounds.connections

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        place = self._places.pop(connection, None)
        if place is None:
            return
        self._by_place[place] -= 1
        if not self._by_place[place]:
            del self._by_place[place]

    def keep_none(self) -> None:
        """From now on each connection ends with its next answer, which says so."""
        self.ending = True
        for each in list(self._places):
            each.keep_no_longer()

    def give_up_uploads(self) -> None:
        """Answer those whose request has not come wholly: it will not be waited for."""
        for each in list(self._places):
            if each.standing()[0] is ConnectionState.BODY:
                each.refuse(errors.Unavailable("the service stops; try again shortly"), "stopping")

    def count(self, reason: str) -> None:
        """A connection was ended by us."""
        self._ended[reason] += 1

    def standings(self) -> Counter[ConnectionState]:
        """How many connections do what."""
        return Counter(each.standing()[0] for each in self._places)

    def _place(self, address: str) -> str:
        """For whom a connection counts: its address, the network of one of IPv6, whose owner has
        2^64 of them, or nobody where it comes by a trusted proxy."""
        found = parsed(address)
        if found is None or any(found in network for network in self._trusted):
            return ""
        return network_of(address)

    def _make_room(self, new: Connection, among: Iterable[Connection], reason: str) -> None:
        now = new.loop.time()
        if now < self._full_until:  # nobody could a moment ago, and looking at all of them costs
            return
        able = [
            (
                now - since < NEW_S and standing is not ConnectionState.ENDING,
                standing,
                since,
                index,
                each,
            )
            for index, each in enumerate(among)
            for standing, since in [each.standing()]
            if each is not new and standing is not ConnectionState.ANSWER
        ]
        if not able:
            self._full_until = now + FULL_S
        for _, standing, _, _, each in heapq.nsmallest(1 + len(able) // ROOM, able):
            self.leave(each)
            if standing is ConnectionState.BODY and not each.transport.get_write_buffer_size():
                each.refuse(errors.Unavailable("others need the connection"), reason)
                each.transport.close()
            else:
                self.count(reason)
                each.transport.abort()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = loop.call_later(LOOK_S, self._look, loop)
        now = loop.time()
        for each in list(self._places):
            try:
                each.look(now)
            except Exception:
                log.exception("a connection cannot be looked at, and is closed")
                each.transport.abort()
        self._memory.squeeze()
        if self._ended and now - self._said_at >= SAY_S:
            said = ", ".join(f"{count} {reason}" for reason, count in self._ended.most_common())
            log.warning("connections ended by us: %s", said)
            self._ended.clear()
            self._said_at = now
