"""What of Gradio's own addresses can be reached, and what is left to the API."""

from __future__ import annotations

import re

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

#: Gradio's pages and tools that are not ours to offer: usage monitoring, its own API pages,
#: code editing, run history, fetching other servers' files.
CLOSED = re.compile(
    r"/(monitoring|login|logout|gradio_api/(vibe|undo-vibe|runs|run-history|info|openapi|proxy=|"
    r"call|api/|deep_link|dev|profiling|process_recording))"
)
#: What is the API's: an unknown address there is answered as the API answers.
OWN = re.compile(r"/(api|otlp|pages|healthz|readyz|docs|redoc|openapi\.json)(/|$)")


class Fence:
    """Pure ASGI middleware around the mounted Gradio app."""

    def __init__(self, app: ASGIApp, outer: FastAPI) -> None:
        self.app, self._outer = app, outer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http":
            if OWN.match(path):
                raise HTTPException(405 if self._is_other_method(scope) else 404)
            if CLOSED.match(path):
                raise HTTPException(404)
        await self.app(scope, receive, send)

    def _is_other_method(self, scope: Scope) -> bool:
        """Whether the API has this address for another method.

        The mount takes every address, so the router never comes to say so itself.
        """
        routes = (route for route in self._outer.router.routes if not isinstance(route, Mount))
        return any(route.matches(scope)[0] is Match.PARTIAL for route in routes)
