"""The layer that bounds requests' bodies: each by its address, and their memory in total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.api import problems
from frontend.edge.layer import route_path
from frontend.identity.principal import share_of
from frontend.server.bounds import BODY_BYTES, MEMORY_WAIT_S
from frontend.server.memory import Memory, Share
from frontend.server.protocol import scope_connection
from pipeline import errors

#: Bytes that a body of unknown length is given room for at first; then it doubles.
FIRST_BYTES = 256 * 1024
#: In a request's `state`: the memory that it holds.
_HELD = "damoscope.memory"


@dataclass(frozen=True)
class BodyLimit:
    """What bodies for one address may take."""

    bytes: int = BODY_BYTES
    #: Whether they are kept in memory, rather than written to a file as they come.
    kept: bool = True
    #: Whether whoever reads them refuses larger ones by itself, with an answer of its own.
    refused_there: bool = False


def free_memory(scope: Scope) -> None:
    """The body of this request is no longer kept: others may have its memory."""
    if held := scope.get("state", {}).get(_HELD):
        memory, share = held
        share.upload = None
        memory.free(share)


async def take_memory(scope: Scope, more: int) -> None:
    """So many bytes more are kept for this request than came: its body is unpacked.

    Raises Unavailable when there is no memory for them.
    """
    if held := scope.get("state", {}).get(_HELD):
        memory, share = held
        if not await memory.take(share, more, MEMORY_WAIT_S):
            raise _no_memory()


def not_the_senders(scope: Scope) -> None:
    """What is kept for this request from now on comes from elsewhere: its client's pace says
    nothing of it."""
    if held := scope.get("state", {}).get(_HELD):
        held[1].upload = None


async def disconnected(receive: Receive) -> None:
    """Return once the client of a request has hung up. To be called when its body was read: what
    still comes of it is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _no_memory() -> errors.Unavailable:
    return errors.Unavailable(
        "uploads hold all the memory that they may, or all of this client's part; try again shortly"
    )


class Bodies:
    """Refuses bodies that are too large before they are read, and lets those that are kept in
    memory wait until there is some. Inside of the layer that says who the client is."""

    def __init__(self, app: ASGIApp, memory: Memory, limits: Mapping[str, BodyLimit]) -> None:
        """`limits` by the beginning of an address; others have `BodyLimit()`."""
        self.app, self._memory = app, memory
        self._limits = tuple(limits.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared, chunked = 0, False
        for name, value in scope["headers"]:
            if name == b"content-length":
                declared = int(value)
            elif name == b"transfer-encoding":
                chunked = True
        if not (declared or chunked):
            await self.app(scope, receive, send)
            return
        limit = self._limit(route_path(scope))
        if declared > limit.bytes and not limit.refused_there:
            response = await problems.on_error(Request(scope), _too_large(limit))
            await response(scope, receive, send)
            return
        body = _Body(self._memory, limit, declared, scope, receive, send)
        try:
            await self.app(scope, body.receive, body.send)
        finally:
            free_memory(scope)

    def _limit(self, path: str) -> BodyLimit:
        for beginning, limit in self._limits:
            if path.startswith(beginning):
                return limit
        return _COMMON


_COMMON = BodyLimit()


class _Body:
    """One request's body on its way in."""

    def __init__(
        self,
        memory: Memory,
        limit: BodyLimit,
        declared: int,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._memory, self._limit, self._declared = memory, limit, declared
        self._scope, self._receive, self._send = scope, receive, send
        self._share: Share | None = None
        self._received = 0
        self._refusal: errors.DamoscopeError | None = None
        self._swallowing = False

    async def receive(self) -> Message:
        """The next part of the body. Raises DamoscopeError, and then for ever."""
        if self._refusal is not None:
            raise self._refusal
        if self._share is None:
            await self._begin()
        message = await self._receive()
        if message["type"] == "http.request" and (size := len(message.get("body", b""))):
            self._received += size
            if self._received > self._limit.bytes and not self._limit.refused_there:
                raise self._refuse(_too_large(self._limit))
            share = self._share
            assert share is not None
            if share.size and self._received > share.size:  # of unknown length
                await self._take(share, max(share.size, self._received - share.size))
        return message

    async def send(self, message: Message) -> None:
        """The answer; in place of one that mistakes our refusal for something else, ours."""
        if self._swallowing:
            return
        refusal = self._refusal
        if (
            refusal is not None
            and message["type"] == "http.response.start"
            and message["status"] != refusal.status
        ):
            self._swallowing = True
            response = await problems.on_error(Request(self._scope), refusal)
            await response(self._scope, self._receive, self._send)
            return
        await self._send(message)

    async def _begin(self) -> None:
        client = share_of(self._scope)
        self._share = share = Share(client, upload=scope_connection(self._scope))
        if self._limit.kept:
            self._scope.setdefault("state", {})[_HELD] = self._memory, share
            await self._take(share, min(self._declared or FIRST_BYTES, self._limit.bytes))

    async def _take(self, share: Share, more: int) -> None:
        if not await self._memory.take(share, more, MEMORY_WAIT_S):
            raise self._refuse(_no_memory())

    def _refuse(self, error: errors.DamoscopeError) -> errors.DamoscopeError:
        self._refusal = error
        return error


def _too_large(limit: BodyLimit) -> errors.DamoscopeError:
    return errors.BodyTooLarge(f"the body has more than the {limit.bytes:,} bytes allowed here")
