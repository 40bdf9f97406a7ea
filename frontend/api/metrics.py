"""`GET /metrics`: everything that was measured, for a Prometheus that scrapes a single machine."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from monitoring.stores.selection import Scraped


def router(exposition: Scraped) -> APIRouter:
    """The route; not part of the API's description, since its format is Prometheus' own."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/metrics")
    async def read(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        body, content_type = await run_in_threadpool(exposition.text, accept)
        # `media_type` would add a charset of its own.
        headers = {"content-type": content_type, "cache-control": "no-store"}
        return Response(body, headers=headers)

    return routes
