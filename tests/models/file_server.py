"""An HTTP server for files, which can be as unkind as those of the world."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class FileServer:
    """Serves `content` at every address, as `behave` says; `ranges` are what was asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.ranges: list[str | None] = []
        self.paths: list[str] = []
        #: Called in place of the usual answer while it is set.
        self.behave: Callable[[Handler], None] | None = None
        self.ending = threading.Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.owner = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up is none."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def owner(self) -> FileServer:
        return self.server.owner  # type: ignore[attr-defined, no-any-return]

    def do_GET(self) -> None:
        self.owner.ranges.append(self.headers.get("Range"))
        self.owner.paths.append(self.path)
        (self.owner.behave or usual)(self)

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def usual(handler: Handler) -> None:
    """The file, or the part of it that was asked for."""
    content = handler.owner.content
    asked = handler.headers.get("Range")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    size = len(content)
    if asked and start >= size:
        handler.answer(416, Content_Range=f"bytes */{size}", Content_Length="0")
    elif asked:
        said = f"bytes {start}-{size - 1}/{size}"
        handler.answer(206, Content_Range=said, Content_Length=str(size - start))
        handler.wfile.write(content[start:])
    else:
        handler.answer(200, Content_Length=str(size))
        handler.wfile.write(content)


def broken_off(after: int) -> Callable[[Handler], None]:
    """`after` bytes of what was asked for, then the end."""

    def behave(handler: Handler) -> None:
        content, asked = handler.owner.content, handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        handler.close_connection = True
        if asked:
            said = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.answer(206, Content_Range=said, Content_Length=str(len(content) - start))
        else:
            handler.answer(200, Content_Length=str(len(content)))
        handler.wfile.write(content[start : start + after])

    return behave


def text(body: bytes, kind: str = "application/octet-stream") -> Callable[[Handler], None]:
    """These bytes, whole."""

    def behave(handler: Handler) -> None:
        handler.answer(200, Content_Length=str(len(body)), Content_Type=kind)
        handler.wfile.write(body)

    return behave


def status(code: int) -> Callable[[Handler], None]:
    """An error."""
    return lambda handler: handler.answer(code, Content_Length="0")


def silent(handler: Handler) -> None:
    """A few bytes, and no more, with the connection open."""
    handler.answer(200, Content_Length=str(len(handler.owner.content)))
    handler.wfile.write(handler.owner.content[:10])
    handler.wfile.flush()
    handler.owner.ending.wait()


def trickling(handler: Handler) -> None:
    """A byte from time to time, so that it is never silent."""
    handler.answer(200, Content_Length=str(len(handler.owner.content)))
    try:
        for at in range(len(handler.owner.content)):
            handler.wfile.write(handler.owner.content[at : at + 1])
            handler.wfile.flush()
            if handler.owner.ending.is_set():
                return
            time.sleep(0.02)
    except OSError:
        pass


def leads_to(where: str) -> Callable[[Handler], None]:
    """A redirect to another path; what is there is a page."""

    def behave(handler: Handler) -> None:
        if handler.path == where:
            text(b"<!DOCTYPE html><p>Please sign in", "text/html; charset=utf-8")(handler)
        else:
            handler.answer(302, Location=where, Content_Length="0")

    return behave


def leads_round(handler: Handler) -> None:
    """A redirect without end."""
    handler.answer(302, Location=handler.path, Content_Length="0")
