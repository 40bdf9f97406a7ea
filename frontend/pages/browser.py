"""Whose an upload or a result of the pages is: somebody's who is known, or a browser's.

Where nobody is told apart, a browser is known by a random cookie that no script can read.
"""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.identity.principal import principal

COOKIE = "damoscope_browser"
#: 128 random bits, in hexadecimal digits: nobody can guess another's.
TOKEN = re.compile(r"[0-9a-f]{32}")
_PLACE = "browser"


def owner(scope: Scope) -> str:
    """Whose the uploads and results of this request are; empty for a browser without a name."""
    if known := principal(scope).owner:
        return f"principal {known}"
    token = scope.get("state", {}).get(_PLACE) or Request(scope).cookies.get(COOKIE, "")
    return f"browser {token}" if TOKEN.fullmatch(token) else ""


class NamesBrowser:
    """Layer around what a page is made of: gives a browser its name with the first answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or owner(scope):
            await self.app(scope, receive, send)
            return
        token = scope.setdefault("state", {})[_PLACE] = secrets.token_hex(16)
        cookie = f"{COOKIE}={token}; Path={scope.get('root_path') or '/'}; HttpOnly; SameSite=Lax"
        if scope.get("scheme") == "https":
            cookie += "; Secure"

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self.app(scope, receive, send_named)
