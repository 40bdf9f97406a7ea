"""Reading the image out of a request's body, in memory, with a bound."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from frontend.server.bodies import take_memory
from frontend.server.protocol import scope_connection
from pipeline.errors import (
    Cancelled,
    ImageTooLarge,
    InvalidImage,
    InvalidParameter,
    UnsupportedImage,
)
from pipeline.images import check_bytes

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

#: Name of the multipart field that holds the image.
FIELD = "image"
#: What a multipart body may hold besides the image: boundaries, headers, small fields.
MULTIPART_EXTRA_BYTES = 64 * 1024
#: How zlib is told of a body's `Content-Encoding`.
ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
#: Bytes that are unpacked before others have a turn.
STEP_BYTES = 256 * 1024


async def read_image(request: Request, max_bytes: int) -> bytes:
    """The encoded image: multipart field `image`, or the raw body.

    Raises UnsupportedImage for another content type, ImageTooLarge beyond `max_bytes`,
    InvalidImage when the body ends early, InvalidParameter when the field is missing.
    """
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    multipart = content_type == b"multipart/form-data"
    if not multipart and not content_type.startswith((b"image/", b"application/octet-stream")):
        given = content_type.decode("latin-1") or "no content type"
        raise UnsupportedImage(
            f"{given} is not supported; send the image's bytes as image/*, or as the field "
            f"'{FIELD}' of multipart/form-data"
        )
    most = max_bytes + (MULTIPART_EXTRA_BYTES if multipart else 0)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        check_bytes(int(declared), max_bytes)
        raise ImageTooLarge(f"the upload has more than the {max_bytes:,} bytes allowed")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    try:
        chunks = _bounded(request.stream(), most, max_bytes)
        if encoding not in ("", "identity"):
            chunks = _bounded(_unpacked(chunks, encoding, request.scope), most, max_bytes)
        if not multipart:
            return b"".join([chunk async for chunk in chunks])
        return await _multipart(chunks, options.get(b"boundary", b""))
    except ClientDisconnect:
        connection = scope_connection(request.scope)
        if connection and connection.refusal:  # it is we who have ended it
            raise connection.refusal from None
        raise Cancelled("the client went away before the upload was complete") from None


def disposition(header: bytes) -> dict[bytes, bytes]:
    """The parameters of a part's `Content-Disposition`: its field's name, its file's name.

    A backslash in them is one, as browsers write it and HTML has it
    (https://html.spec.whatwg.org/#multipart-form-data): where two stand, the parser would take the
    first for a sign that the second follows.
    """
    return parse_options_header(header.replace(b"\\", b"\\\\"))[1]


async def _bounded(stream: AsyncIterator[bytes], most: int, max_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > most:
            raise ImageTooLarge(f"the upload has more than the {max_bytes:,} bytes allowed")
        yield chunk


async def _unpacked(
    stream: AsyncIterator[bytes], encoding: str, scope: Scope
) -> AsyncIterator[bytes]:
    """A body without its `Content-Encoding`, a little at a time, however much is packed in it."""
    if encoding not in ENCODINGS:
        refused = UnsupportedImage(
            f"Content-Encoding {encoding} is not supported; send gzip, deflate, or none"
        )
        refused.headers = {"Accept-Encoding": "gzip, deflate"}
        raise refused
    unpacker = zlib.decompressobj(ENCODINGS[encoding])
    try:
        async for packed in stream:
            rest = packed
            while rest and not unpacker.eof:
                piece = unpacker.decompress(rest, STEP_BYTES)
                rest = unpacker.unconsumed_tail
                await take_memory(scope, len(piece))
                yield piece
                await asyncio.sleep(0)
    except zlib.error as error:
        raise InvalidImage(f"the body is not {encoding}, as its Content-Encoding says") from error
    if not unpacker.eof:
        raise InvalidImage(f"the {encoding} body ends early")


async def _without_preamble(chunks: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[bytes]:
    """A multipart body from its first boundary on, without what may stand before and behind it:
    a text for nobody, and blanks."""
    first = re.compile(rb"(?:\A|\n)(--%b)[ \t]*(?=[^ \t])" % re.escape(boundary))
    start, found = b"", False
    async for chunk in chunks:
        if found:
            yield chunk
            continue
        start += chunk
        if match := first.search(start):
            found = True
            yield match[1] + start[match.end() :]
        elif len(start) > MULTIPART_EXTRA_BYTES:
            raise InvalidImage("the multipart body does not begin with its boundary")
    if not found:
        yield start


async def _multipart(chunks: AsyncIterator[bytes], boundary: bytes) -> bytes:
    if not boundary:
        raise InvalidParameter("multipart/form-data without a boundary")
    part = _ImagePart()
    try:
        parser = MultipartParser(boundary, part.callbacks())
        async for chunk in _without_preamble(chunks, boundary):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise InvalidImage(
            "the multipart body is damaged: it does not keep to its boundary, or a header is none"
        ) from error
    if not part.ended:
        raise InvalidImage("the multipart body ends before its last boundary")
    if part.data is None:
        raise InvalidParameter(f"the multipart body has no field '{FIELD}'")
    return bytes(part.data)


class _ImagePart:
    """Collects the data of the one part that is the image, and skips the others."""

    def __init__(self) -> None:
        self.data: bytearray | None = None
        self.ended = False
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._wanted = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._value,
            "on_header_end": self._header,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _end(self) -> None:
        self.ended = True

    def _begin(self) -> None:
        self._disposition, self._wanted = b"", False

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        options = disposition(self._disposition)
        self._wanted = self.data is None and options.get(b"name") == FIELD.encode()
        if self._wanted:
            self.data = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted and self.data is not None:
            self.data += memoryview(data)[start:end]
