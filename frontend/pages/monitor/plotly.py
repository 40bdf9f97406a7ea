"""plotly.js, served from this very service: plots work without the internet.

It is the partial bundle of plots on two axes, a third of the whole: npm's package
`plotly.js-cartesian-dist-min`, unchanged, of which another version is got by `npm pack`.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

#: Of the file, which says the same in its first lines.
VERSION = "4.1.1"
SCRIPT = Path(__file__).parent / "vendor" / "plotly-cartesian.min.js"
#: Its address names its version, so a browser may keep it for ever.
ADDRESS = f"/pages/plotly-{VERSION}.min.js"
FOREVER = "public, max-age=31536000, immutable"


def router() -> APIRouter:
    """The one route, which compresses the file once, when it is first asked for."""
    routes = APIRouter(include_in_schema=False)

    @routes.get(ADDRESS)
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
    return gzip.compress(SCRIPT.read_bytes(), compresslevel=9)
