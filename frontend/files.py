"""Files that are served as they are, compressed for who takes that."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

#: Bytes under which compressing gains nothing.
LEAST = 1000
#: Files whose compressed form is kept: more than there are.
KEPT = 100


class CompressedFiles(StaticFiles):
    """A folder's files. Each is compressed once, and not on the event loop."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        asked = Headers(scope=scope)
        if (
            not isinstance(response, FileResponse)
            or response.stat_result is None
            or response.stat_result.st_size < LEAST
            or not response.media_type
            or not response.media_type.startswith(("text/", "application/"))
        ):
            return response
        response.headers["vary"] = "accept-encoding"
        if "gzip" not in asked.get("accept-encoding", "") or "range" in asked:
            return response
        changed = response.stat_result.st_mtime_ns
        body = await run_in_threadpool(_compressed, Path(response.path), changed)
        headers = {
            name: response.headers[name] for name in ("content-type", "last-modified", "vary")
        }
        # Weak: the same file, and not the same bytes, of which a part could be asked for.
        headers["etag"] = f"W/{response.headers['etag']}"
        return Response(body, headers=headers | {"content-encoding": "gzip"})


@lru_cache(KEPT)
def _compressed(path: Path, changed_ns: int) -> bytes:
    """By the time that it changed, too: a file may be another one later."""
    return gzip.compress(path.read_bytes(), compresslevel=9)
