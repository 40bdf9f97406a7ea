"""In place of Gradio's own addresses for files: the upload, how far it is, and the stored image.

They speak what Gradio's script in the browser expects, with ids where Gradio has paths.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from frontend.identity.principal import share_of
from frontend.pages.browser import owner
from frontend.pages.upload_request import UploadIntake
from frontend.pages.uploads import Uploads
from frontend.slots import Slots
from pipeline.errors import InvalidParameter, NotFound

#: Uploads under way at once, and streams that tell how far one is: of each client, and of all.
UPLOADS_EACH, UPLOADS_MOST = 16, 64
STREAMS_EACH, STREAMS_MOST = 16, 64
#: An upload's number as the browser makes it up.
NUMBER = re.compile(r"[0-9a-z]{1,40}")
#: Seconds between two messages of a stream, in which an upload must begin, and that a stream lasts.
TELL_EVERY_S, BEGIN_S, STREAM_S = 0.1, 5.0, 600.0
#: Uploads whose progress is kept at once.
TRACKED_MOST = 2 * UPLOADS_MOST
#: What the first bytes of an image say, of those that browsers show; the others are downloads.
KINDS = (
    (b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n", "image/png"), (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"), (b"BM", "image/bmp"),
)  # fmt: skip
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
#: In place of a preview, of what no browser shows.
NO_PREVIEW = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="480" height="320" viewBox="-16 -10 56 44" '
    'fill="none" stroke="#94a3b8" stroke-linecap="round" stroke-linejoin="round">'
    '<path d="M4 4h16v16H4zM4 16l5-5 4 4 2-2 5 5M15 8.5h.01M2 2l20 20"/></svg>'
)


class UploadRoutes:
    """The endpoints."""

    def __init__(self, uploads: Uploads, intake: UploadIntake) -> None:
        self._uploads, self._intake = uploads, intake
        self._under_way = Slots("uploads", each=UPLOADS_EACH, most=UPLOADS_MOST)
        self._streams = Slots("event streams", each=STREAMS_EACH, most=STREAMS_MOST)
        #: By owner and number: bytes that have come of each file and were not told, and the end.
        self._progress: OrderedDict[tuple[str, str], _Progress] = OrderedDict()

    async def upload(self, request: Request) -> Response:
        """Store a request's files; answers their ids, in order."""
        progress = self._begin(request)
        with self._under_way.one(share_of(request.scope)):
            try:
                stored = await self._intake.receive(request, progress.add)
            finally:
                progress.done = True
        return JSONResponse([upload.id for upload in stored], headers={"Cache-Control": "no-store"})

    async def progress(self, request: Request) -> Response:
        """A stream of how many bytes of each file have come."""
        key = self._key(request)
        if key is None:
            raise InvalidParameter("upload_id: up to 40 letters and digits")

        async def messages() -> AsyncIterator[str]:
            async for message in self._messages(key):
                yield f"data: {json.dumps(message)}\n\n"

        return _Stream(messages(), self._streams, share_of(request.scope))

    async def file(self, request: Request) -> Response:
        """A stored image, for who has sent it."""
        upload = self._uploads.find(request.path_params["upload_id"], owner(request.scope))
        if upload is None:
            raise NotFound("no such image: it is kept no longer, or is not yours")
        path = None if upload.error is not None else upload.path
        kind = await asyncio.to_thread(_kind, path) if path else None
        if kind is None and request.headers.get("sec-fetch-dest") == "image":
            # Where the page would show it; why there is nothing to see is said beside it.
            return Response(NO_PREVIEW, media_type="image/svg+xml", headers=HEADERS)
        if path is None:
            raise NotFound("this image was not stored: its result says why")
        upload.used_s = time.monotonic()
        return FileResponse(
            path,
            media_type=kind or "application/octet-stream",
            filename=upload.name,
            content_disposition_type="inline" if kind else "attachment",
            headers=HEADERS,
        )

    def _key(self, request: Request) -> tuple[str, str] | None:
        number = request.query_params.get("upload_id", "")
        return (owner(request.scope), number) if NUMBER.fullmatch(number) else None

    def _begin(self, request: Request) -> _Progress:
        progress = _Progress()
        if key := self._key(request):
            self._progress[key] = progress
            while len(self._progress) > TRACKED_MOST:
                self._progress.popitem(last=False)
        return progress

    async def _messages(self, key: tuple[str, str]) -> AsyncIterator[dict[str, object]]:
        began_s = time.monotonic()
        while (progress := self._progress.get(key)) is None:
            if time.monotonic() - began_s > BEGIN_S:
                yield {"msg": "done"}  # or the browser would ask again and again
                return
            await asyncio.sleep(TELL_EVERY_S)
        while True:
            done = progress.done or time.monotonic() - began_s > STREAM_S
            for name, size in progress.take():
                yield {"msg": "update", "orig_name": name, "chunk_size": size}
            if done:
                break
            await asyncio.sleep(TELL_EVERY_S)
        self._progress.pop(key, None)
        yield {"msg": "done"}


class _Stream(StreamingResponse):
    """An event stream that counts for as long as it is open, however it ends."""

    def __init__(self, messages: AsyncIterator[str], slots: Slots, client: str) -> None:
        headers = {"Cache-Control": "no-store"}
        super().__init__(messages, media_type="text/event-stream", headers=headers)
        self._slots, self._client = slots, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._slots.one(self._client):
            await super().__call__(scope, receive, send)


class _Progress:
    """How many bytes of each file have come since it was last asked."""

    def __init__(self) -> None:
        self.done = False
        self._sizes: dict[str, int] = {}

    def add(self, name: str, size: int) -> None:
        self._sizes[name] = self._sizes.get(name, 0) + size

    def take(self) -> list[tuple[str, int]]:
        sizes, self._sizes = self._sizes, {}
        return list(sizes.items())


def _kind(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(12)
    return next((kind for sign, kind in KINDS if start.startswith(sign)), None)
