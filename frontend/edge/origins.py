"""What pages of other origins may do: nothing, unless `DAMOSCOPE_CORS_ORIGINS` names them."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.api.problems import refusal
from frontend.layers import TRACE_HEADER
from pipeline.errors import Forbidden
from pipeline.settings import Settings

#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: What a script of an allowed origin may send beyond what any may, and may read of an answer.
SENT = (
    "authorization", "x-api-key", "content-type", "content-encoding", "prefer",
    "idempotency-key", "traceparent", "tracestate", "baggage",
)  # fmt: skip
READ = (
    TRACE_HEADER, "location", "preference-applied", "retry-after", "www-authenticate",
    "content-disposition",
)  # fmt: skip
#: Bytes of an origin that are repeated in an answer.
SHOWN = 100


class Origins:
    """Refuses what changes something and comes from a page of another origin.

    Browsers say so by `Sec-Fetch-Site`, or by an `Origin` that is not what `Host` says; programs
    send neither. This is the algorithm of Go's `http.CrossOriginProtection`. Behind a proxy that
    changes `Host`, the origin is the one of the public URL.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._own = {origin(settings.public_url)} if settings.public_url else set()
        self._allowed = frozenset(settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_ours(message: Message) -> None:
            # Gradio has answers to CORS of its own, which allow everybody everything.
            if message["type"] == "http.response.start":
                message["headers"] = [
                    field for field in message.get("headers", ())
                    if not field[0].lower().startswith(b"access-control-")
                ]  # fmt: skip
            await send(message)

        headers = Headers(scope=scope)
        if scope.get("method") in SAFE or self._may(headers):
            await self.app(scope, receive, send_ours)
            return
        error = Forbidden(
            f"a page of another origin ({headers.get('origin', 'unknown')[:SHOWN]}) may not do "
            "this; DAMOSCOPE_CORS_ORIGINS names origins that may, and DAMOSCOPE_PUBLIC_URL is "
            "this service's own behind a proxy"
        )
        await refusal(scope, receive, send, error)

    def _may(self, headers: Headers) -> bool:
        asking, site = headers.get("origin"), headers.get("sec-fetch-site")
        if asking is not None and (asking in self._own or asking in self._allowed):
            return True
        if site is not None:
            return site in ("same-origin", "none")
        return asking is None or urlsplit_netloc(asking) == headers.get("host", "").lower()


def cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Starlette's layer for CORS, if any origin is allowed. Cookies are never sent along: a page
    of another origin needs a key of its own."""
    if not settings.allowed_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.allowed_origins,
        allow_methods=("GET", "HEAD", "POST", "DELETE"),
        allow_headers=SENT,
        expose_headers=READ,
        allow_private_network=True,
    )


def origin(url: str) -> str:
    """The origin of a URL, as browsers write it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def urlsplit_netloc(asking: str) -> str | None:
    """Host and port of an `Origin` field; None where there is none, as in `null`."""
    try:
        return urlsplit(asking).netloc.lower() or None
    except ValueError:
        return None
