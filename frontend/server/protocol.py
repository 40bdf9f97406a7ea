"""Uvicorn's protocol of a connection, with bounds on what its client may take and for how long."""

from __future__ import annotations

import asyncio
import logging
import select
from collections import deque
from typing import Any, ClassVar

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from frontend.api.problems import RETRY_AFTER_S
from frontend.server.bounds import (
    FRAMING_BYTES,
    HEADER_BYTES,
    HEADER_FIELDS,
    HEADER_S,
    LINGER_S,
    PIPELINE,
    RATE,
    RATE_WHEN_SCARCE,
    RATE_WINDOW_S,
    TARGET_BYTES,
)
from frontend.server.connections import Connections, ConnectionState
from pipeline import errors

#: What the next bytes of a client belong to: nothing yet, a header, a body.
IDLE, HEADER, BODY = range(3)
#: The connection in a request's `state`.
CONNECTION = "damoscope.connection"
#: By which `poll` tells that the other side has closed: on Linux behind bytes that were not read
#: yet, too; elsewhere a reset alone.
_CLOSED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `all` looks at each of them once a second.

    Uvicorn by itself knows no limit for headers, slow bodies and clients that do not read.
    """

    all: ClassVar[Connections]

    @classmethod
    def within(cls, connections: Connections) -> type[BoundedProtocol]:
        """The class for uvicorn's `Config(http=...)`, whose instances are kept by `connections`."""
        # Uvicorn has a line for each; `Connections` has one a minute for all.
        logging.getLogger("uvicorn.error").addFilter(_not_said_elsewhere)
        return type("Connection", (cls,), {"all": connections})

    # -- asyncio's protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        now = self.loop.time()
        self._receiving, self._since = HEADER, now
        #: Bytes since the header or the body began, with their framing; of the body without it.
        self._raw = self._content = 0
        self._window: tuple[float, int] = (now, 0)
        self._looked: tuple[float, int] = (now, 0)
        #: Bytes a second at which the body came lately.
        self.pace = 0.0
        self._unsent: tuple[float, int] | None = None
        self._ends_at: float | None = None
        self._refusal: errors.DamoscopeError | None = None
        #: The error with which it was ended.
        self.refusal: errors.DamoscopeError | None = None
        #: Requests that have not been answered wholly, in their order: uvicorn knows the last.
        self._unanswered: deque[RequestResponseCycle] = deque()
        #: Whether the connection ended before all answers had gone out.
        self._cut_off = False
        # So that writing is paused until the last byte has gone out: `delivered`.
        transport.set_write_buffer_limits(0)
        if not self.all.admit(self, self.client[0] if self.client else ""):
            self.refuse(
                errors.Unavailable("too many connections are open; try again shortly"), "refused"
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self.all.leave(self)
        self._abandon()
        self._cut_off |= exc is not None or self.flow.write_paused
        super().connection_lost(exc)

    def eof_received(self) -> None:
        self._abandon()  # the transport closes now, and sends nothing of what is written later
        super().eof_received()

    def data_received(self, data: bytes) -> None:
        if self._ends_at is not None:  # the rest of a request that was refused
            return
        if self._receiving == IDLE:
            self._begin(HEADER)
        self._raw += len(data)
        super().data_received(data)
        if self._ends_at is not None:
            return
        if self._receiving == HEADER and self._raw > HEADER_BYTES:
            self.refuse(_header_too_large(), "malformed")
        elif self._receiving == BODY and (
            self._raw - self._content > FRAMING_BYTES + self._content
            or len(self.headers) > HEADER_FIELDS
        ):
            self.refuse(
                errors.MalformedRequest("the body has more framing than content"), "malformed"
            )

    def resume_writing(self) -> None:
        self._unsent = None  # the client reads
        super().resume_writing()

    # -- httptools' callbacks ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._receiving != HEADER:
            self._begin(HEADER)
        self.scope["state"][CONNECTION] = self

    def on_headers_complete(self) -> None:
        fields = self.headers
        if len(fields) > HEADER_FIELDS or sum(map(len, map(b"".join, fields))) > HEADER_BYTES:
            raise self._refused(_header_too_large())
        if len(self.url) > TARGET_BYTES:
            raise self._refused(
                errors.TargetTooLong(f"the address has more than {TARGET_BYTES} bytes")
            )
        self._check(fields)
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        if len(self.pipeline) > PIPELINE:
            raise self._refused(
                errors.MalformedRequest(f"more than {PIPELINE} requests were sent ahead")
            )
        # To nothing here, if it asks to: what follows is no request of ours.
        if self.all.ending or self.parser.should_upgrade():
            self.cycle.keep_alive = False
        # Trailers, should there be any, come by the same callback: they are no header fields.
        self.headers = []
        self._begin(BODY)

    def on_body(self, body: bytes) -> None:
        self._content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._begin(IDLE)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        while self._unanswered and self._unanswered[0].response_complete:
            self._unanswered.popleft()
        super().on_response_complete()

    # -- uvicorn's own ------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """What the parser gave up on, or we did within it."""
        error = self._refusal or errors.MalformedRequest("this is no request of HTTP/1.1 or 1.0")
        self.refuse(error, "malformed")

    def shutdown(self) -> None:
        if self._ends_at is not None:
            self.transport.abort()
        else:
            super().shutdown()

    # -- ours ---------------------------------------------------------------------------------

    def refuse(self, error: errors.DamoscopeError, reason: str) -> None:
        """Answer with this error now, and close. The application sees a client that has gone."""
        self.all.count(reason)
        self.refusal = error
        if self.transport.is_closing():
            return
        if any(c.response_started and not c.response_complete for c in self._unanswered):
            self.transport.abort()  # an answer that has begun cannot be mended
            return
        self._abandon()
        self.pipeline.clear()
        self._unset_keepalive_if_required()
        self.transport.write(_answer(error, self.server_state.default_headers))
        # What still comes is read and dropped for a while: a connection that is closed with bytes
        # unread is reset, and the client loses the answer.
        self._ends_at = self.loop.time() + LINGER_S
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def keep_no_longer(self) -> None:
        """Close after the answer that is due."""
        for cycle in self._unanswered:
            cycle.keep_alive = False

    def give_up_for_memory(self) -> None:
        """End an upload that comes slowly while others wait for memory."""
        self.refuse(
            errors.RequestTimeout(
                f"uploads have to come faster than {RATE_WHEN_SCARCE // 1024} kB/s while memory "
                "is scarce; try again shortly"
            ),
            "slow while memory is scarce",
        )

    @property
    def gone(self) -> bool:
        """Whether its client has closed it, be it behind bytes that were not read yet."""
        if self.transport.is_closing():
            return True
        closed = select.poll()
        closed.register(self.transport.get_extra_info("socket").fileno(), _CLOSED)
        return bool(closed.poll(0))

    def drop(self) -> None:
        """End it without an answer, which nobody would read."""
        self._abandon()
        self.transport.abort()

    async def delivered(self) -> bool:
        """Whether all that was written so far has gone out: once it has, or the client has gone.
        What the client has read of it is not known."""
        await self.flow.drain()
        return not self._cut_off

    def standing(self) -> tuple[ConnectionState, float]:
        """What it is doing, and since when."""
        if self._ends_at is not None or self.transport.is_closing():
            return ConnectionState.ENDING, self._since
        if self._receiving == BODY:
            return ConnectionState.BODY, self._since
        if self.cycle is not None and not self.cycle.response_complete:
            return ConnectionState.ANSWER, self._since
        return (
            ConnectionState.IDLE if self._receiving == IDLE else ConnectionState.HEADER
        ), self._since

    def look(self, now: float) -> None:
        """End it where a limit has passed. Called once a second."""
        if self._does_not_read(now) or (self._ends_at is not None and now >= self._ends_at):
            self.transport.abort()
            return
        standing, since = self.standing()
        if standing is ConnectionState.HEADER and now - since >= HEADER_S:
            if self._raw:
                self.refuse(
                    errors.RequestTimeout(f"the header was not complete within {HEADER_S:g} s"),
                    "slow header",
                )
            else:
                self.all.count("silent")
                self.transport.close()
        elif standing is ConnectionState.BODY:
            self._look_at_body(now)

    def _look_at_body(self, now: float) -> None:
        if self.cycle.response_complete:  # refused by the application, which does not read it
            if now - self._since >= LINGER_S:
                self.all.count("refused upload that went on")
                self.transport.abort()
            return
        began, content = self._looked
        if now > began:
            self.pace = 0.8 * self.pace + 0.2 * (self._content - content) / (now - began)
            self._looked = now, self._content
        began, content = self._window
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._window = now, self._content  # it is we who wait
            self.pace = max(self.pace, float(RATE_WHEN_SCARCE))
        elif now - began >= RATE_WINDOW_S:
            if self._content - content < RATE * RATE_WINDOW_S:
                self.refuse(
                    errors.RequestTimeout(
                        f"the body came more slowly than {RATE} bytes/s over {RATE_WINDOW_S:g} s"
                    ),
                    "slow body",
                )
            else:
                self._window = now, self._content

    def _does_not_read(self, now: float) -> bool:
        """Whether what was written has not gone out for long."""
        size = self.transport.get_write_buffer_size()
        if size == 0:
            self._unsent = None
        elif self._unsent is None or self._unsent[1] - size >= RATE * RATE_WINDOW_S:
            self._unsent = now, size
        elif now - self._unsent[0] >= RATE_WINDOW_S:
            self.all.count("answer not read")
            return True
        return False

    def _abandon(self) -> None:
        """Let the application see, for each request that is open, a client that has gone."""
        for cycle in self._unanswered:
            self._cut_off = True
            cycle.disconnected = True
            cycle.message_event.set()

    def _begin(self, receiving: int) -> None:
        now = self.loop.time()
        self._receiving, self._since = receiving, now
        self._raw = self._content = 0
        if receiving == BODY:
            self._window = self._looked = now, 0
            self.pace = 2.0 * RATE_WHEN_SCARCE  # by the benefit of the doubt, for some seconds

    def _refused(self, error: errors.DamoscopeError) -> errors.DamoscopeError:
        """What to raise within a callback of the parser, which then gives up."""
        self._refusal = error
        return error

    def _check(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Raises DamoscopeError for what servers along the way might understand differently."""
        hosts, coding, place = 0, None, 0
        for index, (name, value) in enumerate(fields):
            if name == b"host":
                hosts, place = hosts + 1, index
            elif name == b"transfer-encoding":
                coding = value
        newest = self.parser.get_http_version() == "1.1"
        if hosts > 1 or (newest and not hosts):
            raise self._refused(errors.MalformedRequest("a request has one field Host"))
        if coding is not None and not (newest and coding.strip().lower() == b"chunked"):
            raise self._refused(
                errors.MalformedRequest("of transfer codings, only chunked is taken")
            )
        if self.url[:1] != b"/" and (host := httptools.parse_url(self.url).host):
            # Of the whole address and the field Host, the former holds: RFC 9112, 3.2.2.
            port = httptools.parse_url(self.url).port
            if hosts:
                fields[place] = (b"host", host + (b":%d" % port if port else b""))


def _not_said_elsewhere(record: logging.LogRecord) -> bool:
    return record.msg not in ("Invalid HTTP request received.", "Unsupported upgrade request.")


def _header_too_large() -> errors.DamoscopeError:
    return errors.HeaderTooLarge(
        f"the header has more than {HEADER_FIELDS} fields or {HEADER_BYTES // 1024} kB"
    )


def _answer(error: errors.DamoscopeError, headers: list[tuple[bytes, bytes]]) -> bytes:
    body = orjson.dumps(
        {
            "type": f"urn:damoscope:{error.code}",
            "title": error.title,
            "status": error.status,
            "detail": str(error),
        }
    )
    fields = [
        *headers,
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if error.status == 503:
        fields.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    lines = [name + b": " + value + b"\r\n" for name, value in fields]
    return b"".join([STATUS_LINE[error.status], *lines, b"\r\n", body])


def scope_connection(scope: Any) -> BoundedProtocol | None:
    """The connection that a request came on; None where it is not served by this class."""
    found: BoundedProtocol | None = scope.get("state", {}).get(CONNECTION)
    return found
