"""frontend.edge.proxies: who is believed about a client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from frontend.edge.proxies import Forwarded
from pipeline.errors import ConfigurationError
from pipeline.settings import load

PEER = ("127.0.0.1", 40000)


def behind(trusted: str | None, fields: dict[str, str], peer: Any = PEER) -> Scope:
    """The scope that an application behind the layer gets."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    scope = {"type": "http", "scheme": "http", "client": peer, "headers": headers}
    asyncio.run(Forwarded(app, trusted)(scope, None, None))  # type: ignore[arg-type]
    assert scope["headers"] == headers, "the server's own scope is left alone"
    return seen[0]


@pytest.mark.parametrize(
    ("trusted", "told", "client"),
    [
        pytest.param(None, "10.9.8.7", "127.0.0.1", id="nobody is trusted"),
        pytest.param("10.0.0.0/8", "10.9.8.7", "127.0.0.1", id="another one is trusted"),
        pytest.param("127.0.0.1", "192.0.2.1", "192.0.2.1", id="a client"),
        pytest.param("127.0.0.9/8", "192.0.2.1", "192.0.2.1", id="a network by an address in it"),
        pytest.param("127.0.0.1", "1.1.1.1, 192.0.2.1", "192.0.2.1", id="the client lies"),
        pytest.param(
            "127.0.0.1, 10.0.0.0/8", "1.1.1.1, 192.0.2.1, 10.1.1.1", "192.0.2.1", id="two proxies"
        ),
        pytest.param("127.0.0.1,10.0.0.0/8", "10.0.0.2", "10.0.0.2", id="a proxy asks itself"),
        pytest.param("127.0.0.1", "192.0.2.1:5000", "192.0.2.1", id="with a port"),
        pytest.param("127.0.0.1", "[2001:db8::1]:5000", "2001:db8::1", id="IPv6 with a port"),
        pytest.param("127.0.0.1", "2001:DB8:0::1", "2001:db8::1", id="IPv6 written otherwise"),
        pytest.param("127.0.0.1", "::ffff:192.0.2.1", "192.0.2.1", id="IPv4 inside of IPv6"),
        pytest.param("127.0.0.1", "unknown", "127.0.0.1", id="a word"),
        pytest.param("127.0.0.1", "192.0.2.1, <b>", "127.0.0.1", id="rubbish"),
        pytest.param("127.0.0.1", "192.0.2.1, 1.1.1.1.1", "127.0.0.1", id="nearly an address"),
        pytest.param("127.0.0.1", "", "127.0.0.1", id="empty"),
        pytest.param("127.0.0.1", ",,", "127.0.0.1", id="commas"),
        pytest.param("127.0.0.1", "9" * 60_000, "127.0.0.1", id="long"),
    ],
)  # fmt: skip
def test_the_client(trusted: str | None, told: str, client: str) -> None:
    """The rightmost address that is no trusted proxy, and never what is no address."""
    scope = behind(trusted, {"x-forwarded-for": told})
    assert scope["client"][0] == client


def test_a_proxy_on_a_socket_of_both_families() -> None:
    """A proxy's IPv4 address is known where the socket of IPv6 took the connection, too."""
    scope = behind("127.0.0.1", {"x-forwarded-for": "192.0.2.1"}, ("::ffff:127.0.0.1", 1))
    assert scope["client"][0] == "192.0.2.1"
    assert behind(None, {}, ("::ffff:192.0.2.1", 1))["client"] == ("192.0.2.1", 1)
    assert behind("127.0.0.1", {"x-forwarded-for": "192.0.2.1"}, None)["client"] is None


@pytest.mark.parametrize("trusted", [None, "127.0.0.1"])
def test_nothing_told_is_left(trusted: str | None) -> None:
    """What the libraries behind would read on their own does not reach them."""
    told = {
        "forwarded": "for=1.1.1.1;host=evil", "x-forwarded-for": "1.1.1.1", "x-real-ip": "1.1.1.1",
        "x-forwarded-proto": "https", "x-forwarded-host": "evil", "x-forwarded-prefix": "/evil",
        "x-forwarded-port": "1", "x-gradio-server": "http://evil", "x-original-url": "/evil",
        "host": "here", "x-request-id": "1",
    }  # fmt: skip
    scope = behind(trusted, told)
    assert [name for name, _ in scope["headers"]] == [b"host", b"x-request-id"]
    assert scope["scheme"] == ("https" if trusted else "http")


@pytest.mark.parametrize("told", ["ftp", "HTTPS x", "", "javascript"])
def test_a_scheme_that_is_none(told: str) -> None:
    """Only http and https are schemes."""
    assert behind("127.0.0.1", {"x-forwarded-proto": told})["scheme"] == "http"


def test_a_proxy_that_is_none() -> None:
    """What is no address is refused by the setting's name."""
    with pytest.raises(ConfigurationError, match=r"DAMOSCOPE_TRUSTED_PROXIES=proxy\.local"):
        load(trusted_proxies="proxy.local")
