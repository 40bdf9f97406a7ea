"""What proxies tell about a request, from those only that are named in the settings."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

#: Header fields by which proxies tell where a request comes from or what was asked for, as some
#: library or other reads them; `x-gradio-server` is Gradio's. And all that begin so.
TOLD = {b"forwarded", b"x-real-ip", b"x-original-url", b"x-rewrite-url", b"x-gradio-server"}
TOLD_PREFIX = b"x-forwarded-"


class Forwarded:
    """Puts client and scheme into the scope, as a trusted proxy tells them by `X-Forwarded-For`
    and `X-Forwarded-Proto`.

    Of a chain, the client is the rightmost address that is no trusted proxy. No field that tells
    such things is left behind this layer, whoever sent it: the scope is the only truth.
    """

    def __init__(self, app: ASGIApp, trusted: str | None) -> None:
        """`trusted`: addresses and networks, separated by commas; None is nobody."""
        self.app = app
        networks = [
            str(ip_network(each.strip(), strict=False))
            for each in (trusted or "").split(",")
            if each
        ]
        self._believing = ProxyHeadersMiddleware(self._behind, networks)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        peer = scope.get("client")
        if peer and (address := _address(peer[0])):
            scope = {**scope, "client": (str(address), peer[1])}
        # The layer changes its scope, in which the peer is kept for when it was told rubbish.
        believed = {**scope, "damoscope.peer": scope.get("client")}
        await self._believing(believed, receive, send)  # type: ignore[arg-type]

    async def _behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer, client = scope.pop("damoscope.peer"), scope.get("client")
        if client and client != peer:
            address = _address(client[0])
            scope["client"] = (str(address), client[1]) if address else peer
        scope["headers"] = [
            field for field in scope["headers"]
            if field[0] not in TOLD and not field[0].startswith(TOLD_PREFIX)
        ]  # fmt: skip
        await self.app(scope, receive, send)


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address in its usual form: IPv4 as such, also where a socket of IPv6 took it."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
