"""A service of a few lines whose delays are known, in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from run.load.clients import Load
from run.load.connection import Target
from run.load.plan import Plan

OK = b'{"job_id": "j", "detections": []}'
FULL = b'{"type": "urn:damoscope:overloaded", "status": 503, "detail": "the queue is full"}'
TRACE = "0123456789abcdef0123456789abcdef"


def answer(status: int, body: bytes = OK, *headers: str) -> bytes:
    """A whole answer of HTTP/1.1."""
    fields = "".join(f"{each}\r\n" for each in (f"x-trace-id: {TRACE}", *headers))
    head = f"HTTP/1.1 {status} X\r\n{fields}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


Reply = Callable[[int], Awaitable[bytes | None]]


@dataclass
class Stub:
    """Answers the n-th request with what `reply(n)` gives; None closes the connection."""

    reply: Reply
    seen: int = 0
    gone: int = 0
    heads: list[bytes] = field(default_factory=list)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                number, self.seen = self.seen, self.seen + 1
                self.heads.append(head)
                left = asyncio.create_task(reader.read(1))
                given = asyncio.ensure_future(self.reply(number))
                await asyncio.wait({left, given}, return_when=asyncio.FIRST_COMPLETED)
                if not given.done():  # the client hung up
                    self.gone += 1
                    given.cancel()
                    return
                left.cancel()
                await asyncio.gather(left, return_exceptions=True)
                if (data := given.result()) is None:
                    return
                writer.write(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self) -> Any:
        """Yields the address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


def loaded(stub: Stub, plan: Plan, body: bytes = b"x" * 1000) -> Load:
    """A load that has been run against the stub."""

    async def run() -> Load:
        async with stub.listening() as url:
            target = Target.of(url)
            load = Load(target, [target.request(body, "image/jpeg")], plan)
            await asyncio.wait_for(load.run(), 120)
            return load

    return asyncio.run(run())
