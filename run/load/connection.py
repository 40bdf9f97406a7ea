"""One connection of a client: HTTP/1.1 kept alive, one request at a time.

A generator shares the machine with what it measures, so it must be cheap: on asyncio and httptools,
the parser under uvicorn, an answer takes an eighth of the CPU that aiohttp takes (docs/load.md).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from pipeline.errors import ConfigurationError

#: Bytes of an answer's body that are kept; all of them are counted.
BODY_MAX = 1 << 20
HEADERS_KEPT = (b"x-trace-id", b"retry-after", b"location")
DETECT = "/api/v1/detect"


@dataclass(frozen=True)
class Target:
    """Where requests go. `base` is the service's own address, for links; `path` has the query."""

    host: str
    port: int
    tls: bool
    base: str
    path: str
    authority: str

    @classmethod
    def of(cls, url: str, path: str = DETECT) -> Target:
        """Of an address such as http://host:7860 or https://host/under/a/path."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ConfigurationError(f"{url!r} is no address of a service: http://HOST:PORT")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigurationError(
                "the address is scheme, host, port and path only; a key goes into DAMOSCOPE_KEY"
            )
        under = parts.path.rstrip("/").removesuffix(path)
        return cls(
            host=parts.hostname,
            port=port or (443 if parts.scheme == "https" else 80),
            tls=parts.scheme == "https",
            base=f"{parts.scheme}://{parts.netloc}{under}",
            path=under + path,
            authority=parts.netloc,
        )

    def request(
        self, body: bytes, kind: str, query: str = "", headers: dict[str, str] | None = None
    ) -> bytes:
        """A whole POST as it is sent."""
        fields = {
            "host": self.authority,
            "content-type": kind,
            "accept": "application/json",
            "content-length": str(len(body)),
        } | (headers or {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        path = f"{self.path}?{query}" if query else self.path
        return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("ascii") + body


@dataclass
class HttpAnswer:
    """What came back. `size` is the body's bytes, `body` at most the first BODY_MAX of them."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    size: int


class Broken(ConnectionError):
    """The connection ended, or what came was not HTTP, before the answer was whole."""


class ClientConnection(asyncio.Protocol):
    """A connection that `opened` made. `ask` sends one request and returns its answer."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.alive = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.alive = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self._writable.set()
        self._fail(exc.strerror if isinstance(exc, OSError) and exc.strerror else "closed")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # nobody asked: the connection cannot be used again
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if (name := name.lower()) in HEADERS_KEPT:
            self._headers[name] = value

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if len(self._body) < BODY_MAX:
            self._body += data[: BODY_MAX - len(self._body)]

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return  # 100 Continue and the like come before the answer
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(
                HttpAnswer(status, self._headers, bytes(self._body), self._size)
            )

    async def ask(self, request: bytes) -> HttpAnswer:
        """Raises Broken. Cancelled, it closes the connection as a client does that leaves."""
        if not self.alive:
            raise Broken("closed")
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._size = 0
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(request)
            return await self._answer
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._answer = None

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Broken(why))

    def close(self) -> None:
        """Closed once what was written is sent; not to be used from here on."""
        self.alive = False
        self._transport.close()

    def abort(self) -> None:
        """Closed at once, with what was not sent yet."""
        self.alive = False
        self._transport.abort()


async def opened(target: Target, timeout_s: float) -> ClientConnection:
    """Raises Broken, which says what is wrong, within `timeout_s`."""
    context = ssl.create_default_context() if target.tls else None
    try:
        async with asyncio.timeout(timeout_s):
            _, connection = await asyncio.get_running_loop().create_connection(
                ClientConnection, target.host, target.port, ssl=context
            )
    except TimeoutError:
        raise Broken("not connected in time") from None
    except ssl.SSLError as error:
        raise Broken(f"TLS: {error.reason or error}") from error
    except socket.gaierror as error:
        raise Broken(f"the name is not known: {error.strerror}") from error
    except OSError as error:
        # asyncio puts the address into strerror: the plain words keep outcomes few
        raise Broken(os.strerror(error.errno) if error.errno else str(error)) from error
    return connection
