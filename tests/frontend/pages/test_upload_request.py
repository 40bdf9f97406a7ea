"""frontend.pages.upload_request: files out of a multipart body, whatever shape it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.requests import Request
from starlette.types import Message

from frontend.pages.upload_request import FILES_MOST, UploadIntake, file_name
from frontend.pages.uploads import Upload, Uploads, shown_name
from pipeline.errors import DamoscopeError, RateLimited

OWNER = "a" * 32
HEAD = b'Content-Disposition: form-data; name="files"; filename="%s"\r\n\r\n'


def part(data: bytes, name: bytes = b"a.jpg", head: bytes = HEAD) -> bytes:
    return b"--B\r\n" + (head % name if b"%s" in head else head) + data + b"\r\n"


class Sender:
    """Sends bodies to an intake of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uploads = Uploads(folder, bytes_most=2_000_000, reserve_bytes=0)
        self.rated, self.redis_is_away = 0, False
        self.rate_most = 10**6
        self.told: list[tuple[str, int]] = []

    async def _rate(self, client: str) -> None:
        if self.redis_is_away:
            raise RedisConnectionError("redis://:secret@example")
        self.rated += 1
        if self.rated > self.rate_most:
            raise RateLimited("this address sends more than 3/minute")

    def send(self, *chunks: bytes | None, kind: str = "multipart/form-data; boundary=B",
             headers: dict[str, str] | None = None) -> list[Upload]:  # fmt: skip
        """Receive what comes in these chunks; None: the client goes away."""
        waiting: Iterator[Message] = iter(
            {"type": "http.disconnect"} if chunk is None
            else {"type": "http.request", "body": chunk, "more_body": i < len(chunks) - 1}
            for i, chunk in enumerate(chunks)
        )  # fmt: skip

        async def receive() -> Message:
            return next(waiting)

        given = {"content-type": kind, "cookie": f"damoscope_browser={OWNER}"} | (headers or {})
        scope: dict[str, Any] = {
            "type": "http", "method": "POST", "path": "/", "query_string": b"", "client": ("c", 1),
            "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        }  # fmt: skip
        intake = UploadIntake(self.uploads, 2000, self._rate)
        request = Request(scope, receive)
        return asyncio.run(intake.receive(request, lambda n, s: self.told.append((n, s))))

    def left(self) -> list[Path]:
        return list(self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path / "uploads")


def test_files_in_order(sender: Sender) -> None:
    """However the body is cut, each file has its bytes and its name; other fields are skipped."""
    other = part(b"1", head=b'Content-Disposition: form-data; name="files"\r\n\r\n')
    body = part(b"x" * 1500) + other + part(b"", b"b.jpg") + part(b"--B\r", b"c.jpg") + b"--B--\r\n"
    for size in (1, 7, 100, len(body)):
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        found = sender.send(*chunks)
        assert [upload.name for upload in found] == ["a.jpg", "b.jpg", "c.jpg"]
        for upload, data in zip(found, [b"x" * 1500, b"", b"--B\r"], strict=True):
            assert sender.uploads.find(upload.id, f"browser {OWNER}") is upload
            assert asyncio.run(upload.read()) == data
            sender.uploads.discard(upload)
    assert sum(size for name, size in sender.told if name == "a.jpg") == 4 * 1500
    assert sender.left() == []


def test_a_file_that_cannot_be_used_is_told_of(sender: Sender) -> None:
    """One beyond the limit, or beyond the client's rate, keeps its place with the reason; the
    others are as good as ever, and nothing of it is on the disk."""
    sender.rate_most = 2
    body = part(b"x" * 2001, b"big.jpg") + part(b"good") + part(b"fast", b"fast.jpg") + b"--B--\r\n"
    big, good, fast = sender.send(body)
    assert "more than the 2,000 bytes allowed" in str(big.error)
    assert asyncio.run(good.read()) == b"good"
    assert "sends more than 3/minute" in str(fast.error)
    assert sender.left() == [good.path]


def test_redis_is_away(sender: Sender) -> None:
    """The rate cannot be counted: the file keeps its place with that for a reason."""
    sender.redis_is_away = True
    (upload,) = sender.send(part(b"x") + b"--B--\r\n")
    assert str(upload.error) == "Redis does not answer; try again shortly"
    assert sender.left() == []


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ([part(b"x"), None], "went away"), ([part(b"x")], "ends before its last boundary"),
        ([b"nonsense"], "damaged"), ([b"--B--\r\n"], "no file"), ([b""], "ends before"),
        ([part(b"x", head=b"a: b\r\n\r\n"), b"--B--\r\n"], "no file"),
        ([part(b"x"), part(b"", b"n" * 9000)], "Maximum header size"),
        ([part(b"x"), part(b"", head=b"h" * 9000 + b": 1\r\n\r\n")], "Maximum header size"),
        ([part(b"x"), part(b"x" * 10_001)], "more than the 2,000 bytes"),
        ([part(b"x" * 1900)] * 270, "more than the 510,000 bytes"),
        ([part(b"") * (FILES_MOST + 1)], "more than 1000 files"),
        ([part(b"", head=b"a: b\r\n\r\n") * (2 * FILES_MOST + 1)], "more than 2000 parts"),
    ],
)  # fmt: skip
def test_a_request_that_is_refused_leaves_nothing(
    sender: Sender, chunks: list[bytes | None], why: str
) -> None:
    """Damaged, cut off, or too large in any respect: an error, and not one file."""
    with pytest.raises(DamoscopeError, match=why) as refused:
        sender.send(*chunks)
    assert 400 <= refused.value.status < 500
    assert sender.left() == []
    assert sender.uploads.find("0" * 32, "") is None


def test_what_is_refused_before_a_byte_is_read(sender: Sender) -> None:
    """Another content type, no boundary, a declared length beyond all limits."""
    for kind in ("image/jpeg", "multipart/form-data", "application/json", ""):
        with pytest.raises(DamoscopeError, match="multipart/form-data"):
            sender.send(kind=kind)
    with pytest.raises(DamoscopeError, match="510,000 bytes allowed"):
        sender.send(headers={"content-length": "510001"})


@pytest.mark.parametrize(
    ("given", "file", "name"),
    [
        (b"a.jpg", "a.jpg", "a.jpg"), ("照片.jpg".encode(), "照片.jpg", "照片.jpg"),
        (b"../../etc/passwd", "passwd", "passwd"), (rb"C:\x\y.jpg", r"C:\x\y.jpg", "y.jpg"),
        (b"a%22b.jpg", 'a"b.jpg', 'a"b.jpg'), (b"a%2Fb.jpg", "a%2Fb.jpg", "a%2Fb.jpg"),
        (b"a%0D%0Ab.jpg", "a\r\nb.jpg", "ab.jpg"),
        (b"\x00\x1b[0m.jpg", "\0\x1b[0m.jpg", "[0m.jpg"), (b"..", "..", "image"),
        (b"", "", "image"), (b" a.jpg.", " a.jpg.", "a.jpg"),
        ("a\u202egpj.exe".encode(), "a\u202egpj.exe", "agpj.exe"),
        (b"\xff.jpg", "\ufffd.jpg", "\ufffd.jpg"),
        (b"n" * 300 + b".jpg", "n" * 251 + ".jpg", "n" * 196 + ".jpg"),
    ],
)  # fmt: skip
def test_a_name(given: bytes, file: str, name: str) -> None:
    """As the file is called, and to show: without folders and control characters, and of bounded
    length."""
    assert file_name(given) == file
    assert shown_name(file) == name
