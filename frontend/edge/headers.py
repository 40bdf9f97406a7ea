"""What browsers are told on every answer about what it may do."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Data, files and errors: nothing in them is to be run, loaded or framed.
DATA: Final = "default-src 'none'; frame-ancestors 'none'"
#: A page. Nothing is loaded from another host or sent to one. Gradio needs both of the `unsafe-`:
#: it writes its configuration into the page, and makes functions of the scripts of components.
PAGE: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
POLICY: Final = "Content-Security-Policy"
#: What a page may use of a device: the camera, where a person has let it.
DEVICES: Final = "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=()"
EVERYWHERE: Final = {
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: with it browsers send forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """Sets them. An answer may bring a `Content-Security-Policy` of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(EVERYWHERE)
                page = headers.get("content-type", "").startswith("text/html")
                headers.setdefault(POLICY, PAGE if page else DATA)
                if page:
                    headers["Permissions-Policy"] = DEVICES
            await send(message)

        await self.app(scope, receive, send_secured)
