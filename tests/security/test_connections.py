"""Connections that take and do not give: they end, and others do not suffer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from examples import photos
from frontend.pages.monitor import plotly
from tests.security.connections import Frontend, files_for, frontend, received, status
from tests.servers import PATIENCE_S, eventually
from tests.suspension import no_worker_takes

HALF_OPEN = 1000
DETECT = "/api/v1/detect"


@pytest.fixture(scope="module")
def with_256(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    """A frontend that may open 256 files."""
    with frontend(tmp_path_factory.mktemp("files256"), open_files=256) as service:
        yield service


@pytest.fixture(scope="module")
def with_1024(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    """A frontend that may open 1,024 files."""
    with frontend(tmp_path_factory.mktemp("files1024"), open_files=1024) as service:
        yield service


def detect(service: Frontend, source: str = "127.0.0.1") -> httpx.Response:
    """One image on a connection of its own."""
    with service.client(source) as client:
        image = photos()[0].read_bytes()
        return client.post(DETECT, content=image, headers={"content-type": "image/jpeg"})


@contextlib.contextmanager
def half_open(service: Frontend) -> Iterator[list[socket.socket]]:
    """1,000 connections with half a header each, from the address that everybody has here."""
    files_for(2 * HALF_OPEN)
    connections = []
    try:
        for _ in range(HALF_OPEN):
            connection = service.connect()
            connections.append(connection)
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        yield connections
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("service", ["with_256", "with_1024"])
def test_half_open_connections_keep_nobody_out(
    service: str, request: pytest.FixtureRequest
) -> None:
    """With 1,000 of them, images from the same address and from others are answered, at any
    limit of open files."""
    limited: Frontend = request.getfixturevalue(service)
    with half_open(limited):
        for source in ("127.0.0.1", "127.0.0.2"):
            assert detect(limited, source).status_code == 200
        for _ in range(5):
            assert httpx.get(f"{limited.url}/readyz", timeout=60).status_code == 200


def test_a_flood_of_connections_keeps_nobody_out(with_256: Frontend) -> None:
    """While connections are opened as fast as one process can, and left, images are answered."""
    files_for(2 * HALF_OPEN)
    over = False

    def flood() -> int:
        opened: list[socket.socket] = []
        count = 0
        while not over:
            with contextlib.suppress(OSError):
                connection = with_256.connect("127.0.0.3")
                opened.append(connection)
                connection.sendall(b"POST / HTTP/1.1\r\n")
                count += 1
            if len(opened) > HALF_OPEN:
                opened.pop(0).close()
        for connection in opened:
            connection.close()
        return count

    with ThreadPoolExecutor() as threads:
        flooding = threads.submit(flood)
        try:
            answers = [detect(with_256, "127.0.0.2").status_code for _ in range(5)]
        finally:
            over = True
        assert flooding.result()
    assert answers == [200] * 5


def test_one_address_leaves_room_for_others(with_256: Frontend) -> None:
    """A whole request keeps its connection until it is answered, but one address cannot have
    them all: the rest is told 503, and others are answered. No worker takes an image before that,
    however slowly they come."""
    files_for(2 * HALF_OPEN)
    image = photos()[0].read_bytes()
    whole = (
        b"POST /api/v1/detect?timeout=150 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b" % (len(image), image)
    )
    with ThreadPoolExecutor(200) as threads:

        def ask(_: int) -> int:
            with with_256.connect("127.0.0.4") as connection:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(whole)
                return status(received(connection, PATIENCE_S))

        with no_worker_takes(with_256.redis):
            asked = [threads.submit(ask, number) for number in range(200)]
            eventually(
                lambda: any(each.done() and each.result() == 503 for each in asked),
                "one that has no room",
            )
            with with_256.client("127.0.0.2") as client:
                assert client.get("/healthz").status_code == 200
        answers = Counter(each.result() for each in asked)
    assert answers[200]
    assert set(answers) <= {0, 200, 503, 504}


# -- what takes its time: all of it at once --------------------------------------------------------


class Slow:
    """400 connections that dribble or say nothing, beside clients that are slow and honest."""

    def __init__(self, service: Frontend) -> None:
        self._service = service
        #: By kind of connection, what each was answered until it was closed; None: never closed.
        self.ended: dict[str, list[bytes | None]] = {}
        #: Status of uploads, by the seconds that they took.
        self.uploads: dict[int, int] = {}
        #: Status of the request after the pause.
        self.kept = 0
        self.unread_closed = False

    async def run(self) -> None:
        """All of it."""
        json = b"Content-Type: application/json\r\nContent-Length: 200000\r\n\r\n"
        image = b"Content-Type: image/jpeg\r\nContent-Length: 200000\r\n\r\n"
        beginnings = {
            "silent": b"",
            "header": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
            "json": b"POST /api/v1/alerts/silences HTTP/1.1\r\nHost: 127.0.0.1\r\n" + json,
            "image": b"POST /api/v1/detect?timeout=600 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + image,
        }
        async with asyncio.TaskGroup() as group:
            held = {
                kind: [group.create_task(self._dribble(beginning)) for _ in range(100)]
                for kind, beginning in beginnings.items()
            }
            for seconds in (3, 8, 25):
                group.create_task(self._upload(seconds))
            group.create_task(self._pause())
            group.create_task(self._unread())
        self.ended = {kind: [each.result() for each in tasks] for kind, tasks in held.items()}

    async def _dribble(self, beginning: bytes) -> bytes | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._service.port)
        answer = asyncio.create_task(reader.read())
        writer.write(beginning)
        ends = time.monotonic() + 90
        while not answer.done() and time.monotonic() < ends:
            if beginning:
                writer.write(b"a")
            await asyncio.wait([answer], timeout=1)
        writer.close()
        if not answer.done():
            answer.cancel()
            return None
        return b"" if answer.exception() else answer.result()

    async def _upload(self, seconds: int) -> None:
        data = photos()[0].read_bytes()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._service.port)
        writer.write(
            b"POST /api/v1/detect?timeout=120 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: image/jpeg\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(data)
        )
        part = -(-len(data) // (4 * seconds))
        for start in range(0, len(data), part):
            writer.write(data[start : start + part])
            await asyncio.sleep(0.25)
        self.uploads[seconds] = status(await reader.read())
        writer.close()

    async def _pause(self) -> None:
        async with httpx.AsyncClient(base_url=self._service.url, timeout=60) as client:
            await client.get("/healthz")
            await asyncio.sleep(20)
            answer = await client.get("/healthz")
        self.kept = answer.status_code

    async def _unread(self) -> None:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, ("127.0.0.1", self._service.port))
            ask = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % plotly.ADDRESS.encode()
            await loop.sock_sendall(connection, ask * 10)
            ends = time.monotonic() + 90
            while time.monotonic() < ends and not self.unread_closed:
                await asyncio.sleep(1)
                try:  # a reset shows in sending, without reading; a blank line asks for nothing
                    connection.send(b"\r\n")
                except BlockingIOError:
                    pass
                except OSError:
                    self.unread_closed = True


@pytest.fixture(scope="module")
def slow(with_1024: Frontend) -> Slow:
    files_for(600)
    found = Slow(with_1024)
    asyncio.run(found.run())
    return found


@pytest.mark.parametrize(
    ("kind", "said"), [("silent", 0), ("header", 408), ("json", 408), ("image", 408)]
)
def test_connections_that_dribble_end(slow: Slow, kind: str, said: int) -> None:
    """Each of them, on every route; who has sent something is told why."""
    answers = slow.ended[kind]
    assert None not in answers
    assert {status(each or b"") for each in answers} == {said}


def test_slow_uploads_with_steady_progress_succeed(slow: Slow) -> None:
    """For 3, 8 and 25 s."""
    assert slow.uploads == {3: 200, 8: 200, 25: 200}


def test_a_kept_connection_may_pause(slow: Slow) -> None:
    """Between two requests, for longer than a header may take."""
    assert slow.kept == 200


def test_who_does_not_read_is_closed(slow: Slow) -> None:
    """An answer that nobody takes is not kept for ever."""
    assert slow.unread_closed
