"""frontend.api.body: the image out of a request's body, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from frontend.api.body import MULTIPART_EXTRA_BYTES, disposition, read_image
from pipeline.errors import (
    Cancelled,
    DamoscopeError,
    ImageTooLarge,
    InvalidImage,
    InvalidParameter,
    UnsupportedImage,
)

IMAGE = bytes(range(256)) * 8
BOUNDARY = "----damoscope"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def read(
    body: bytes | Iterable[bytes],
    content_type: str | None = MULTIPART,
    *,
    max_bytes: int = 100_000,
    length: str | None = None,
    disconnects: bool = False,
) -> bytes:
    """What is read from a request whose body comes in these chunks."""
    chunks = [body] if isinstance(body, bytes) else list(body)
    messages: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    end = {"type": "http.request", "body": b"", "more_body": False}
    messages.append({"type": "http.disconnect"} if disconnects else end)
    coming = iter(messages)

    async def receive() -> MutableMapping[str, Any]:
        return next(coming)

    headers = [(b"content-type", content_type.encode("latin-1"))] if content_type else []
    if length is not None:
        headers.append((b"content-length", length.encode("latin-1")))
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    return asyncio.run(read_image(Request(scope, receive), max_bytes))


def part(name: str, data: bytes, *, headers: str = "", boundary: str = BOUNDARY) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    return f"--{boundary}\r\n{disposition}{headers}\r\n\r\n".encode() + data + b"\r\n"


def form(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


FILE = '; filename="a phone.jpg"\r\nContent-Type: image/jpeg'


# -- what is taken ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["image/jpeg", "image/x-anything", "application/octet-stream"])
def test_raw_body(kind: str) -> None:
    """The bytes of an image's content type are the image."""
    assert read(IMAGE, kind) == IMAGE


def test_raw_body_in_chunks() -> None:
    """Chunks are joined in their order."""
    assert read([IMAGE[:5], b"", IMAGE[5:700], IMAGE[700:]], "image/png") == IMAGE


def test_multipart() -> None:
    """The field `image` is the image, with or without a file name."""
    assert read(form(part("image", IMAGE, headers=FILE))) == IMAGE
    assert read(form(part("image", IMAGE))) == IMAGE


def test_multipart_with_other_fields() -> None:
    """Fields before and behind the image are skipped."""
    body = form(part("note", b"hello"), part("image", IMAGE, headers=FILE), part("more", IMAGE))
    assert read(body) == IMAGE


def test_first_of_two_images() -> None:
    """Of two fields `image` the first is taken."""
    assert read(form(part("image", IMAGE), part("image", b"other"))) == IMAGE


def test_empty_field() -> None:
    """An empty field is an empty image; what is wrong with that is said elsewhere."""
    assert read(form(part("image", b"", headers=FILE))) == b""


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 600), max_size=6),
    boundary=st.text("abcXYZ019'()+_,-./:=?", min_size=1, max_size=60),
)
def test_any_image_in_any_chunks(data: bytes, cuts: list[int], boundary: str) -> None:
    """However a body is cut into chunks, the image comes out as it went in."""
    body = form(
        part("before", b"x", boundary=boundary),
        part("image", data, headers=FILE, boundary=boundary),
        boundary=boundary,
    )
    if b"--" + boundary.encode() in data:
        return
    edges = [0, *sorted(cut % len(body) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in pairwise(edges)]
    assert read(chunks, f'multipart/form-data; boundary="{boundary}"') == data


# -- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/json", "application/x-www-form-urlencoded", ";"]
)
def test_other_content_types(kind: str | None) -> None:
    """Another content type is unsupported, and what to send instead is said."""
    with pytest.raises(UnsupportedImage, match=r"image/\*, or as the field 'image'"):
        read(IMAGE, kind)


@pytest.mark.parametrize("kind", ["image/png", MULTIPART])
def test_declared_length_over_the_limit(kind: str) -> None:
    """A length over the limit is refused before the body is read."""
    with pytest.raises(ImageTooLarge, match="more than the 1,000 bytes"):
        read(b"", kind, max_bytes=1000, length=str(1001 + MULTIPART_EXTRA_BYTES))


def test_raw_chunks_over_the_limit() -> None:
    """A body without a length is refused at the chunk that goes over the limit."""
    sent = 0

    def endless() -> Iterable[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield bytes(400)

    assert read([bytes(400), bytes(600)], "image/png", max_bytes=1000) == bytes(1000)
    with pytest.raises(ImageTooLarge, match="more than the 1,000 bytes"):
        read(endless(), "image/png", max_bytes=1000)


def test_multipart_over_the_limit() -> None:
    """Small fields may come on top of the limit, but not a body of any size."""
    note = part("note", bytes(900))
    assert read(form(note, part("image", bytes(1000))), max_bytes=1000) == bytes(1000)
    flood = part("note", bytes(MULTIPART_EXTRA_BYTES + 1000))
    with pytest.raises(ImageTooLarge):
        read([flood, form(part("image", IMAGE))], max_bytes=1000)


@pytest.mark.parametrize("length", ["-5", "many", "\xb2", "1e9"])
def test_length_that_is_no_number(length: str) -> None:
    """A length that is no number counts as none."""
    assert read(IMAGE, "image/png", length=length) == IMAGE


def test_missing_field() -> None:
    """A form without the field is refused with the field's name."""
    with pytest.raises(InvalidParameter, match="no field 'image'"):
        read(form(part("picture", IMAGE)))
    with pytest.raises(InvalidParameter, match="no field 'image'"):
        read(form())


def test_missing_boundary() -> None:
    """A multipart body that does not name its boundary is refused."""
    with pytest.raises(InvalidParameter, match="without a boundary"):
        read(form(part("image", IMAGE)), "multipart/form-data")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(part("image", IMAGE)), "multipart/form-data; boundary=another"),
        (b"no form at all", MULTIPART),
        (form(part("image", IMAGE)), f"multipart/form-data; boundary={'b' * 5000}"),
        (b"--" + BOUNDARY.encode() + b"\r\n\x00bad header\r\n\r\n", MULTIPART),
    ],
)
def test_broken_boundary(body: bytes, kind: str) -> None:
    """A body that does not keep to its boundary is damaged."""
    with pytest.raises(InvalidImage, match="the multipart body is damaged"):
        read(body, kind)


@pytest.mark.parametrize("part_", [0.05, 0.3, 0.6, 0.95])
def test_body_that_ends_early(part_: float) -> None:
    """A form that ends before its last boundary is refused, not taken for a shorter image."""
    body = form(part("image", IMAGE))
    with pytest.raises(InvalidImage, match="before its last boundary"):
        read(body[: int(len(body) * part_)])


@pytest.mark.parametrize("kind", ["image/png", MULTIPART])
def test_client_that_goes_away(kind: str) -> None:
    """A connection that closes in the middle of the upload is an upload cut short."""
    start = part("image", IMAGE) if kind == MULTIPART else IMAGE
    with pytest.raises(Cancelled, match="the client went away"):
        read(start, kind, disconnects=True)


@settings(max_examples=200, deadline=None)
@given(
    body=st.lists(st.binary(max_size=80), max_size=5),
    kind=st.one_of(
        st.just(MULTIPART),
        st.text(st.characters(max_codepoint=255), max_size=40),
        st.text(st.characters(max_codepoint=255), max_size=40).map(
            lambda text: f"multipart/form-data; {text}"
        ),
        st.text(st.characters(max_codepoint=255), max_size=40).map(
            lambda text: f"multipart/form-data; boundary={text}"
        ),
    ),
)
def test_whatever_else(body: list[bytes], kind: str) -> None:
    """Any body under any content type is read or refused; nothing else can happen."""
    status = 200
    try:
        read(body, kind)
    except DamoscopeError as refused:
        status = refused.status
    assert status < 500


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"a.jpg", b"a.jpg"), (rb"a\b.jpg", rb"a\b.jpg"), (rb"a\\b\\\c.jpg", rb"a\\b\\\c.jpg"),
        (rb"ends\\", rb"ends\\"), (rb"ends\\\ ".strip(), rb"ends\\\ ".strip()),
        (b"a;b.jpg", b"a;b.jpg"), (b"%22.jpg", b"%22.jpg"), (rb"a\"b.jpg", b'a"b.jpg'),
        ("照片.jpg".encode(), "照片.jpg".encode()), (b"", b""),
    ],
)  # fmt: skip
def test_names_of_files(written: bytes, meant: bytes) -> None:
    """Every backslash is kept, wherever it stands, but for the one with which old programs write a
    quotation mark; the field's own name is read all the same."""
    found = disposition(b'form-data; name="files"; filename="%s"' % written)
    assert found == {b"name": b"files", b"filename": meant}


def test_a_part_without_names() -> None:
    """A part that says nothing has no name."""
    assert disposition(b"") == {}
    assert disposition(b"form-data") == {}
