"""plotly.js from the installed wheel: plots work without the internet."""

from __future__ import annotations

import gzip
import importlib.util
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

#: Its address names its version, so a browser may keep it for ever.
FOREVER = "public, max-age=31536000, immutable"


def address() -> str:
    """Where plotly.js is served."""
    return f"/pages/plotly-{version('plotly')}.min.js"


def router() -> APIRouter:
    """The one route, which compresses the file once, when it is first asked for."""
    routes = APIRouter(include_in_schema=False)

    @routes.get(address())
    async def plotly(accept_encoding: Annotated[str, Header()] = "") -> Response:
        headers = {"cache-control": FOREVER, "vary": "accept-encoding"}
        body = await run_in_threadpool(_compressed)
        if "gzip" in accept_encoding:
            headers["content-encoding"] = "gzip"
        else:
            body = gzip.decompress(body)
        return Response(body, headers=headers, media_type="text/javascript; charset=utf-8")

    return routes


@cache
def _compressed() -> bytes:
    # Only the wheel's file is wanted; its Python code is never imported.
    spec = importlib.util.find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return gzip.compress(script.read_bytes(), compresslevel=6)
