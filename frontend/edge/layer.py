"""The layers of `frontend.edge` as one, in their order."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.edge.proxies import Forwarded
from pipeline.settings import Settings


class Edge:
    """Everything that is decided about a request before it is asked who sends it.

    Behind it, `scope["client"]`, `scope["scheme"]` and the `Host` field are true, and
    `route_path(scope)` is the address within the service.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._outermost = Forwarded(app, settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._outermost(scope, receive, send)


def route_path(scope: Scope) -> str:
    """The address within the service, such as `/docs`, without the path of the public URL."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"
