"""The request that brings a page's files: multipart, read as it comes, all of it bounded."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from opentelemetry.context import Context
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from redis.exceptions import RedisError
from starlette.requests import ClientDisconnect, Request

from frontend.api.body import disposition
from frontend.identity.principal import share_of
from frontend.pages.browser import owner
from frontend.pages.uploads import Upload, Uploads
from pipeline.errors import (
    DamoscopeError,
    ImageTooLarge,
    InvalidImage,
    InvalidParameter,
    Unavailable,
    UnsupportedImage,
)
from telemetry.context import extract

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

#: The form's field that holds files.
FIELD = b"files"
#: Files of one request at most; Gradio's script sends no more at once.
FILES_MOST = 1000
#: Bytes of a line in a part's header, and characters of a file's name that are kept.
HEADER_MOST = 4096
#: Characters of a file's name: no file system takes longer ones.
GIVEN_MOST = 255
#: Bytes that are gathered before they are written.
BLOCK = 2**20
#: Of a file beyond the limit, up to this many times as much is still read, so that its error
#: can be told in the page, with a trace; beyond that the request is refused.
OVERSIZE = 5

#: What a file's arrival is told to: its name, and how many bytes of it have come since.
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class UploadIntake:
    """Takes the files of a request in."""

    uploads: Uploads
    max_bytes: int
    #: Counts one upload of a client; raises DamoscopeError where it has sent too many.
    check_rate: Callable[[str], Awaitable[None]]

    async def receive(self, request: Request, progress: Progress) -> list[Upload]:
        """The request's files, stored, in order. A file that cannot be used is among them with
        the reason, for the page to show.

        Raises DamoscopeError for a request that is damaged, and then nothing of it is kept.
        """
        content_type, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if content_type != b"multipart/form-data" or not boundary:
            raise UnsupportedImage("send files as multipart/form-data, with a boundary")
        most = self.uploads.bytes_each + OVERSIZE * self.max_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise ImageTooLarge(f"the request has more than the {most:,} bytes allowed")
        files = _Files(request, self, progress)
        try:
            await self._read(request, files, boundary, most)
        except BaseException:
            for upload in files.taken:
                self.uploads.discard(upload)
            raise
        for upload in files.taken:
            self.uploads.complete(upload)
        return files.taken

    async def _read(self, request: Request, files: _Files, boundary: bytes, most: int) -> None:
        size = 0
        try:
            parser = MultipartParser(boundary, files.parts.callbacks(), max_header_size=HEADER_MOST)
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise ImageTooLarge(f"the request has more than the {most:,} bytes allowed")
                parser.write(chunk)
                await files.store()
            parser.finalize()
        except FormParserError as error:
            raise InvalidImage(f"the multipart body is damaged: {error}") from error
        except ClientDisconnect:
            raise InvalidImage("the client went away before the upload was complete") from None
        if not files.parts.ended:
            raise InvalidImage("the multipart body ends before its last boundary")
        if not files.taken:
            raise InvalidParameter(f"the multipart body has no file in a field '{FIELD.decode()}'")


class _Files:
    """Turns the parts of one request into uploads."""

    def __init__(self, request: Request, intake: UploadIntake, progress: Progress) -> None:
        self.parts = _FileParts()
        self.taken: list[Upload] = []
        self._owner, self._client = owner(request.scope), share_of(request.scope)
        self._parent: Context = extract(dict(request.headers))
        self._intake, self._progress = intake, progress
        self._block, self._size = bytearray(), 0

    async def store(self) -> None:
        """Work off what the parser has found."""
        for found in self.parts.found:
            if isinstance(found, str):
                await self._begin(found)
            elif found is None:
                await self._flush()
            else:
                await self._data(found)
        self.parts.found.clear()

    async def _begin(self, name: str) -> None:
        if len(self.taken) >= FILES_MOST:
            raise InvalidParameter(f"more than {FILES_MOST} files in one request")
        upload = Upload(self._owner, self._client, name, time.time_ns(), self._parent)
        self._intake.uploads.begin(upload)
        self.taken.append(upload)
        self._block, self._size = bytearray(), 0
        try:
            await self._intake.check_rate(self._client)
        except DamoscopeError as error:
            self._intake.uploads.fail(upload, error)
        except RedisError:
            unavailable = Unavailable("Redis does not answer; try again shortly")
            self._intake.uploads.fail(upload, unavailable)

    async def _data(self, data: bytes) -> None:
        upload, limit = self.taken[-1], self._intake.max_bytes
        self._progress(upload.name, len(data))
        self._size += len(data)
        if self._size > limit:
            error = ImageTooLarge(f"the upload has more than the {limit:,} bytes allowed")
            if self._size > OVERSIZE * limit:
                raise error
            if upload.error is None:
                self._intake.uploads.fail(upload, error)
        if upload.error is not None:
            self._block.clear()
            return
        self._block += data
        if len(self._block) >= BLOCK:
            await self._flush()

    async def _flush(self) -> None:
        upload = self.taken[-1]
        # Once for an empty file too: it has a path then.
        if upload.error is None and (self._block or upload.path is None):
            await self._intake.uploads.write(upload, bytes(self._block))
        self._block.clear()


class _FileParts:
    """What the parser finds of files: a name where one begins, its bytes, None where it ends."""

    def __init__(self) -> None:
        self.found: list[str | bytes | None] = []
        self.ended = False
        self._name, self._value, self._disposition = bytearray(), bytearray(), b""
        self._parts = 0
        self._is_file = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._more,
            "on_header_end": self._header,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition, self._is_file = b"", False
        self._parts += 1
        if self._parts > 2 * FILES_MOST:
            raise InvalidParameter(f"more than {2 * FILES_MOST} parts in one request")

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _more(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        options = disposition(self._disposition)
        self._is_file = options.get(b"name") == FIELD and b"filename" in options
        if self._is_file:
            self.found.append(file_name(options[b"filename"]))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.found.append(data[start:end])

    def _end_part(self) -> None:
        if self._is_file:
            self.found.append(None)

    def _end(self) -> None:
        self.ended = True


def file_name(given: bytes) -> str:
    """What a file is called where it lies, without its folders."""
    # Browsers write quotes and line ends in this way, and nothing else.
    text = re.sub(r"%(22|0D|0A)", lambda found: unquote(found[0]), given.decode("utf-8", "replace"))
    return text.split("/")[-1][-GIVEN_MOST:]
