"""Where Gradio and its pages believe to be: at `/`, and wherever the browser has opened them."""

from __future__ import annotations

import json
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


class OwnRoot:
    """Around the pages: in what they are sent, the public URL is its path alone.

    Gradio writes the whole URL into its configuration, and a page that was opened under another
    name of the same service (an address of the machine, a tunnel) would ask there, which browsers
    refuse. Its scripts take a path for what it is: one of wherever the page is.
    """

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self.app = app
        path = urlsplit(public_url).path
        self._url, self._path = public_url.encode(), path.encode()
        # Alone it is the root of all; an empty one would be the page's own address.
        self._root = json.dumps(public_url).encode(), json.dumps(path or "/").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = bytearray()

        async def send_moved(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                moved = bytes(body).replace(*self._root).replace(self._url, self._path)
                MutableHeaders(scope=start)["content-length"] = str(len(moved))
                await send(start)
                await send({"type": "http.response.body", "body": moved})

        plain = [field for field in scope["headers"] if field[0] != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, send_moved)
