"""The service as browsers reach it: `DAMOSCOPE_PUBLIC_URL`, path included."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class PublicUrl:
    """Puts scheme, host and path of the public URL into the scope, whatever a proxy made of them.

    The path becomes ASGI's `root_path`, and `path` begins with it: whether the proxy has kept
    it or stripped it off makes no difference. Nor do those who know nothing of it need it, such
    as probes and our own processes.
    """

    def __init__(self, app: ASGIApp, public_url: str | None) -> None:
        self.app = app
        self._known = public_url is not None
        url = urlsplit(public_url or "")
        self._scheme, self._host, self._path = url.scheme, url.netloc.encode(), url.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._known or scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        asked: str = scope["path"]
        if self._path and asked == self._path and scope.get("method") in ("GET", "HEAD"):
            # Addresses in pages are relative to the path with its slash.
            query = scope["query_string"].decode("latin-1")
            response = RedirectResponse(f"{self._path}/{'?' if query else ''}{query}", 308)
            await response(scope, receive, send)
            return
        fields = [field for field in scope["headers"] if field[0] != b"host"]
        scope = {**scope, "headers": [(b"host", self._host), *fields]}
        scope["scheme"] = self._scheme if scope["type"] == "http" else scope["scheme"]
        if self._path:
            scope["root_path"] = self._path
            if not asked.startswith(f"{self._path}/"):
                scope["path"] = f"{self._path}{asked}"
                scope["raw_path"] = quote(self._path).encode() + scope.get("raw_path", b"")
        await self.app(scope, receive, send)
