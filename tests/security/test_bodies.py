"""Bodies: each within its bound, and all together within the memory that they may take."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from examples import photos
from tests.security.connections import MEMORY_MB, Frontend, at_hand, status
from tests.servers import eventually

UPLOADS, UPLOAD_BYTES = 40, 20 * 2**20


def post(path: str, fields: bytes, kind: bytes = b"application/json") -> bytes:
    """The header of a request."""
    return b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %b\r\n%b\r\n" % (
        path.encode(),
        kind,
        fields,
    )


def detect(bounded: Frontend, source: str) -> int:
    with bounded.client(source) as client:
        image = photos()[0].read_bytes()
        answer = client.post(
            "/api/v1/detect", content=image, headers={"content-type": "image/jpeg"}
        )
        return answer.status_code


def test_held_uploads_take_no_more_memory_than_they_may(bounded: Frontend) -> None:
    """Of 40 uploads of 20 MB whose last byte does not come, by ten clients, the memory takes so
    many; the others are told 503 and when to come again. Another client's image is answered: those
    that hold the memory and do not go on are ended for it."""
    assert detect(bounded, "127.0.0.1") == 200
    before = bounded.memory()
    most = before
    head = post(
        "/api/v1/detect?timeout=600", b"Content-Length: %d\r\n" % UPLOAD_BYTES, b"image/jpeg"
    )

    def hold(connection: socket.socket) -> None:
        connection.settimeout(20)  # who waits for memory is not read
        with contextlib.suppress(OSError):
            connection.sendall(head + bytes(UPLOAD_BYTES - 1))

    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(bounded.connect(f"127.0.0.{10 + number // 4}"))
            for number in range(UPLOADS)
        ]
        threads = stack.enter_context(ThreadPoolExecutor(UPLOADS))
        holding = [threads.submit(hold, connection) for connection in held]
        while not all(each.done() for each in holding):
            most = max(most, bounded.memory())
            time.sleep(0.05)
        assert eventually(lambda: detect(bounded, "127.0.0.2") == 200, "an image is answered")
        most = max(most, bounded.memory())
        answers = list(filter(None, map(at_hand, held)))
    assert (most - before) / 2**20 < 2.5 * MEMORY_MB
    assert {status(each) for each in answers} <= {408, 503}
    refused = [each for each in answers if status(each) == 503]
    assert refused
    assert all(b"retry-after: " in each.lower() for each in refused)


def test_memory_is_given_back(bounded: Frontend) -> None:
    """After many large uploads, whatever became of them, the next one has room."""
    with bounded.client() as client:
        for number in range(2 * MEMORY_MB // 20):
            kind = "image/jpeg" if number % 2 else "text/plain"
            answer = client.post(
                "/api/v1/detect", content=bytes(UPLOAD_BYTES), headers={"content-type": kind}
            )
            assert answer.status_code == (415 if kind == "text/plain" else 400), answer.text
    assert detect(bounded, "127.0.0.1") == 200


JSON = (
    "/api/v1/alerts/silences",
    "/gradio_api/run/predict",
)


@pytest.mark.parametrize("path", JSON)
def test_long_json_is_refused_before_it_is_read(bounded: Frontend, path: str) -> None:
    """300 MB that are announced, on the header alone; without a length, after a megabyte."""
    with bounded.connect() as connection:
        connection.sendall(post(path, b"Content-Length: 300000000\r\n"))
        assert connection.recv(2**16).startswith(b"HTTP/1.1 413 ")

    def endless() -> Iterator[bytes]:
        yield b'{"data": ["'
        yield from itertools.repeat(b"a" * 2**16, 300_000_000 // 2**16)

    with bounded.client() as client, contextlib.suppress(httpx.TransportError):
        answer = client.post(path, content=endless(), headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


def test_who_is_refused_learns_why(bounded: Frontend) -> None:
    """Also a client that sends all of its body before it reads the answer."""
    with bounded.connect() as connection:
        connection.sendall(post("/api/v1/detect", b"Content-Length: 30000000\r\n", b"image/jpeg"))
        for _ in range(30):
            connection.sendall(bytes(1_000_000))
        assert connection.recv(2**16).startswith(b"HTTP/1.1 413 ")


def test_several_clients_share_the_memory(bounded: Frontend) -> None:
    """Honest uploads of 16 MB, at once and of one address, are all taken, or told to come again."""
    body = bytes(16 * 2**20)

    async def ask(client: httpx.AsyncClient) -> int:
        answer = await client.post(
            "/api/v1/detect", content=body, headers={"content-type": "image/jpeg"}
        )
        return answer.status_code

    async def all_of_them() -> list[int]:
        async with httpx.AsyncClient(base_url=bounded.url, timeout=60) as client:
            return await asyncio.gather(*(ask(client) for _ in range(12)))

    answers = Counter(asyncio.run(all_of_them()))
    assert set(answers) <= {400, 503}  # zeros are no image
    assert answers[400]
