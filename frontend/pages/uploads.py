"""When each file of a page began to arrive: the beginning of its image's trace.

A page sends an image in two requests: the file itself to Gradio's upload address, then
the event that names the stored file. The trace of the image begins with the first byte
of the former, so that moment is kept until the latter asks for it.
"""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, field

from opentelemetry.context import Context
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry.context import extract

#: Seconds in which an event must follow its upload; a later one is a new run of the image.
FRESH_S = 10.0
#: Uploads remembered at most; a page sends up to 1,000 files at once.
MOST = 2000


@dataclass(frozen=True, slots=True)
class Arrival:
    """One stored file."""

    path: str
    #: Unix nanoseconds of the first byte of the request that brought it.
    first_byte_ns: int
    #: The trace that the browser's request continues; empty when it names none.
    parent: Context
    stored_s: float = field(default_factory=time.monotonic)


class Uploads:
    """The latest arrivals, each of which is given out once."""

    def __init__(self, *, fresh_s: float = FRESH_S, most: int = MOST) -> None:
        self._fresh_s = fresh_s
        self._arrivals: deque[Arrival] = deque(maxlen=most)

    def note(self, arrival: Arrival) -> None:
        """Remember a file that was just stored."""
        self._arrivals.append(arrival)

    def take(self, path: str) -> Arrival | None:
        """The arrival of `path`, unless it was taken before or is no longer fresh.

        Files of equal content share a path; the one that came first is given first.
        """
        oldest = time.monotonic() - self._fresh_s
        while self._arrivals and self._arrivals[0].stored_s < oldest:
            self._arrivals.popleft()
        for index, arrival in enumerate(self._arrivals):
            if arrival.path == path:
                del self._arrivals[index]
                return arrival
        return None


class UploadWatch:
    """Around Gradio's upload address: notes what is stored, and since when."""

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self.app, self._uploads = app, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        carrier = dict(Headers(scope=scope))
        first_byte_ns = 0
        body, ok = bytearray(), False

        async def receive_timed() -> Message:
            nonlocal first_byte_ns
            message = await receive()
            if not first_byte_ns and message.get("body"):
                first_byte_ns = time.time_ns()
            return message

        async def send_noted(message: Message) -> None:
            nonlocal ok
            if message["type"] == "http.response.start":
                ok = message["status"] == 200
            elif ok:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    # Noted before the browser knows the path, so before it can ask for it.
                    for path in json.loads(body):
                        self._uploads.note(Arrival(path, first_byte_ns, extract(carrier)))
            await send(message)

        await self.app(_uncompressed(scope), receive_timed, send_noted)


def _uncompressed(scope: Scope) -> Scope:
    """The same request without `accept-encoding`: the answer is read here on its way."""
    kept = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
    return {**scope, "headers": kept}
