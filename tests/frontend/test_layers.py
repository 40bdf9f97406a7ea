"""frontend.layers: each in plain ASGI, without an application."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from starlette.types import Message, Receive, Scope, Send

from frontend.layers import HeadAsGet, name_server


def test_head_of_a_stream_without_end() -> None:
    """The answer is its header, and whoever streams on sees that the client is gone."""
    sent: list[Message] = []
    methods: list[str] = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        methods.append(scope["method"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})

    async def receive() -> Message:
        over = sent and sent[-1]["type"] == "http.response.body"
        return {"type": "http.disconnect" if over else "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "HEAD", "path": "/"}
    asyncio.run(HeadAsGet(stream)(scope, receive, send))
    assert methods == ["GET"]
    assert scope["method"] == "HEAD", "outer layers see what was asked"
    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": b""},
    ]


@pytest.mark.parametrize("host", ["", "a:b:c", "x:99999", "[::1"])
def test_a_host_that_names_no_server(host: str) -> None:
    """A `Host` that cannot be read leaves the span as it was."""
    span = TracerProvider().get_tracer("test").start_span("POST")
    name_server(span, {"scheme": "http", "headers": [(b"host", host.encode())]})
    assert not span.attributes  # type: ignore[attr-defined]
    span.end()
