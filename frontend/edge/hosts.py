"""Under which names the service answers: the defence against DNS rebinding.

A page of the internet can let its own name point at 127.0.0.1. The browser of somebody on this
machine then takes the service for a part of that page, and the page may read all of it. What
gives it away is the name, in the `Host` field, which no script can change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.api.problems import refusal
from pipeline.errors import Misdirected
from pipeline.image_hosts import is_address
from pipeline.settings import Settings

_HOST = re.compile(r"[\w.:\[\]-]*", re.ASCII)
#: Bytes of a name that are repeated in an answer.
SHOWN = 100


class Hosts:
    """Refuses a `Host` under which the service is not known, as long as it is open to whoever
    reaches it. Who needs a key cannot be harmed this way: no other name has it.

    On loopback it is known as `localhost` or by an address of loopback, and as what
    `DAMOSCOPE_PUBLIC_URL` says. With that, names without a dot are taken too: proxies call
    their upstreams so, and in the internet's DNS there are none. On other addresses without a
    public URL it is known under any name.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, is_open: Callable[[], bool] = lambda: True
    ) -> None:
        self.app = app
        self._is_open = is_open
        self._on_loopback = _is_loopback(settings.host)
        self._public = (
            hostname(urlsplit(settings.public_url).netloc) if settings.public_url else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and self._is_open():
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) > 1 or (hosts and not self._known(hosts[0])):
                named = ", ".join(hosts)[:SHOWN]
                error = Misdirected(
                    f"Host: {named}: this service is not known under this name. Open it as "
                    "http://localhost, or set DAMOSCOPE_PUBLIC_URL to the address by which "
                    "browsers reach it"
                )
                await refusal(scope, receive, send, error)
                return
        await self.app(scope, receive, send)

    def _known(self, host: str) -> bool:
        if not host:  # a browser names it always
            return True
        name = hostname(host)
        if name is None:
            return False
        if _is_loopback(name) or name == self._public:
            return True
        if self._on_loopback:
            return self._public is not None and "." not in name and ":" not in name
        return self._public is None or "." not in name or is_address(name)


@lru_cache(maxsize=1024)
def hostname(netloc: str) -> str | None:
    """The name in a `Host` field, in small letters and without a port; None where it is none."""
    if not _HOST.fullmatch(netloc):
        return None
    try:
        asked = urlsplit(f"//{netloc}")
        _ = asked.port  # raises when it is none
    except ValueError:
        return None
    return asked.hostname.removesuffix(".") if asked.hostname else None


@lru_cache(maxsize=1024)
def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return is_address(name) and ip_address(name).is_loopback
