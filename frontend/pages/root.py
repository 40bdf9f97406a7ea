"""Where Gradio and its pages believe to be: at `/`, and wherever the browser has opened them."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.edge.layer import route_path


class AtRoot:
    """Around Gradio's application: takes the public URL's path off, of which Gradio expects that
    the proxy has done it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "path": route_path(scope), "root_path": ""}, receive, send)


def own_root(public_url: str) -> Callable[[bytes], bytes]:
    """How the public URL becomes its path alone in what a page is sent.

    Gradio writes the whole URL into its configuration, and a page that was opened under another
    name of the same service (an address of the machine, a tunnel) would ask there, which browsers
    refuse. Its scripts take a path for what it is: one of wherever the page is.
    """
    path = urlsplit(public_url).path
    # Alone it is the root of all; an empty one would be the page's own address.
    root = json.dumps(public_url).encode(), json.dumps(path or "/").encode()
    return lambda body: body.replace(*root).replace(public_url.encode(), path.encode())


def with_head(head: str) -> Callable[[bytes], bytes]:
    """How a page gets what stands first in its head.

    Gradio has scripts add its `head` once it runs itself: too late for the language that it asks
    the browser for, and for the colours in which the page waits for it.
    """
    return lambda body: body.replace(b"<head>", b"<head>" + head.encode(), 1)


class Rewritten:
    """Around the pages: each is sent as `changes` make it, in their order."""

    def __init__(self, app: ASGIApp, *changes: Callable[[bytes], bytes]) -> None:
        self.app = app
        self._changes = changes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = bytearray()

        async def send_changed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                changed = bytes(body)
                for change in self._changes:
                    changed = change(changed)
                MutableHeaders(scope=start)["content-length"] = str(len(changed))
                await send(start)
                await send({"type": "http.response.body", "body": changed})

        plain = [field for field in scope["headers"] if field[0] != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, send_changed)
