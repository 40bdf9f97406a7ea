"""frontend.edge.hosts: under which names the service answers."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from frontend.edge.hosts import Hosts
from pipeline.settings import Settings


def status(*hosts: str, is_open: bool = True, kind: str = "http", **settings: str) -> int:
    """What is answered under these `Host` fields; 200 when the request gets through."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", host.encode("latin-1")) for host in hosts]
    scope = {"type": kind, "method": "GET", "path": "/", "headers": headers}
    layer = Hosts(app, Settings(**settings), lambda: is_open)  # type: ignore[arg-type]
    asyncio.run(layer(scope, None, send))  # type: ignore[arg-type]
    return int(sent[0].get("status") or sent[0]["code"])


LOOPBACK = [
    "localhost", "localhost:7860", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.0.0.1:7860",
    "127.9.9.9", "[::1]", "[::1]:7860", "x.localhost:80", "",
]  # fmt: skip
OTHERS = [
    "evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example",
    "evil", "10.0.0.1", "[2001:db8::1]", "0.0.0.0", "localhost@evil.example", "a b", "a/b", "::1",
    "localhost:x", "localhost:99999", "127.1", "2130706433", "lo\xe7alhost", "-",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback(host: str) -> None:
    """It answers under the names of loopback, and to who names none."""
    assert status(host) == 200


@pytest.mark.parametrize("host", OTHERS)
def test_other_names(host: str) -> None:
    """Any other name may be one that a page of the internet has made up."""
    assert status(host) == 421
    assert status(host, is_open=False) == 200, "who needs a key has none under another name"


def test_none_and_two() -> None:
    """Without a `Host` it answers; of two, nobody knows which one counts."""
    assert status() == 200
    assert status("localhost", "localhost") == 421


def test_a_websocket_is_closed() -> None:
    """It would be open to other names just as well."""
    assert status("evil.example", kind="websocket") == 1008


@pytest.mark.parametrize(
    ("host", "expected"),
    [("exams.example", 200), ("EXAMS.example:444", 200), ("backend", 200), ("localhost", 200),
     ("evil.example", 421), ("exams.example.evil.example", 421), ("10.0.0.1", 421)],
)  # fmt: skip
def test_with_a_public_url(host: str, expected: int) -> None:
    """Its host is one more name, and so are those without a dot, as proxies call upstreams."""
    assert status(host, public_url="https://exams.example/a") == expected


@pytest.mark.parametrize(
    ("host", "public_url", "expected"),
    [
        ("anything.example", "", 200),
        ("exams.example", "https://exams.example", 200),
        ("10.0.0.1:7860", "https://exams.example", 200),
        ("frontend:7860", "https://exams.example", 200),
        ("evil.example", "https://exams.example", 421),
    ],
)
def test_on_another_address(host: str, public_url: str, expected: int) -> None:
    """Open to a network it takes any name, unless the public URL says which; addresses, as probes
    have them, always."""
    given = {"public_url": public_url} if public_url else {}
    assert status(host, **given, host="0.0.0.0") == expected
