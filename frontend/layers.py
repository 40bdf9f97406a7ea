"""The frontend's own layers, in plain ASGI. `frontend.app` puts them in order."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import Span, get_current_span
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry import catalogue
from telemetry.context import trace_id

TRACE_HEADER = "x-trace-id"
#: Ports that an address means when it names none.
DEFAULT_PORTS = {"http": 80, "https": 443}


class TraceIdHeader:
    """Every answer of a traced request names its trace; of others, none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace = trace_id(get_current_span()) if scope["type"] == "http" else ""
        if not trace:
            await self.app(scope, receive, send)
            return

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[TRACE_HEADER] = trace
            await send(message)

        await self.app(scope, receive, send_named)


class HeadAsGet:
    """Answers HEAD wherever GET is answered, with the same header fields and no body.

    The answer is over with its header: what streams for ever sees a client that has gone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        await self.app({**scope, "method": "GET"}, receive, send_header)


def name_server(span: Span, scope: dict[str, Any]) -> None:
    """Hook of the instrumentation: the server is what the client asked for, by `Host`; the
    instrumentation itself takes the socket's address, which means nothing behind a proxy."""
    host = Headers(scope=scope).get("host")
    if not host or not span.is_recording():
        return
    try:
        asked = urlsplit(f"//{host}")
        port = asked.port or DEFAULT_PORTS.get(scope["scheme"])
    except ValueError:  # no host and port; the socket's stand
        return
    if asked.hostname:
        span.set_attribute(catalogue.ATTR_SERVER_ADDRESS, asked.hostname)
        if port is not None:
            span.set_attribute(catalogue.ATTR_SERVER_PORT, port)
