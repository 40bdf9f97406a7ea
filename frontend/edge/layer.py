"""The layers of `frontend.edge` as one, in their order."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.edge.headers import SecurityHeaders
from frontend.edge.hosts import Hosts
from frontend.edge.origins import Origins, cors
from frontend.edge.proxies import Forwarded
from frontend.edge.public import PublicUrl
from pipeline.settings import Settings


class Edge:
    """Everything that is decided about a request before it is asked who sends it.

    Behind it, `scope["client"]`, `scope["scheme"]`, the `Host` field and `scope["root_path"]` are
    true, and `route_path(scope)` is the address within the service.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, is_open: Callable[[], bool] = lambda: True
    ) -> None:
        """`is_open` says whether anybody who reaches the service may use it."""
        # From the innermost to the outermost.
        app = PublicUrl(app, settings.public_url)
        app = Origins(app, settings)
        app = cors(app, settings)
        app = Hosts(app, settings, is_open)
        app = Forwarded(app, settings.trusted_proxies)
        self._outermost = SecurityHeaders(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._outermost(scope, receive, send)


def route_path(scope: Scope) -> str:
    """The address within the service, such as `/docs`, without the path of the public URL."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"
