"""Requests that servers understand differently, and those that are larger than any honest one."""

from __future__ import annotations

import json
import socket
import struct

import pytest

from examples import photos
from tests.security.connections import Frontend, received, status

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /api/v1/alerts/test HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n"


def ask(bounded: Frontend, request: bytes) -> bytes:
    """All that is answered until the connection is closed."""
    with bounded.connect() as connection:
        connection.sendall(request)
        return received(connection)


REFUSED = {
    "a length and chunks": (400, POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    "a list of lengths": (400, POST + b"Content-Length: 4, 4\r\n\r\nabcd"),
    "a length with a sign": (400, POST + b"Content-Length: +4\r\n\r\nabcd"),
    "another coding": (400, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "a coding in disguise": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "a blank before the colon": (400, POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    "chunks of HTTP/1.0": (
        400,
        b"POST /api/v1/alerts/test HTTP/1.0\r\nContent-Type: application/json\r\n"
        + CHUNKED
        + b"\r\n0\r\n\r\n",
    ),
    "a chunk size that is none": (400, POST + CHUNKED + b"\r\nzz\r\nab\r\n0\r\n\r\n"),
    "a chunk beyond its size": (400, POST + CHUNKED + b"\r\n2\r\nabcd\r\n0\r\n\r\n"),
    "a field on two lines": (400, GET + b"X-A: 1\r\n 2\r\n\r\n"),
    "line feeds alone": (400, b"GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n"),
    "a NUL": (400, GET + b"X: a\0b\r\n\r\n"),
    "no host": (400, b"GET /healthz HTTP/1.1\r\n\r\n"),
    "two hosts": (400, GET + b"Host: elsewhere\r\n\r\n"),
    "CONNECT": (400, b"CONNECT elsewhere:80 HTTP/1.1\r\nHost: elsewhere\r\n\r\n"),
    "HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, bytes.fromhex("16030100c8010000c403034a")),
    "a long address": (414, b"GET /healthz?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a field without end": (431, GET + b"X: " + b"a" * 400_000),
    "many fields": (431, GET + b"X: a\r\n" * 101 + b"\r\n"),
    "many requests at once": (400, (GET + b"\r\n") * 500),
    "more framing than content": (
        400,
        POST + CHUNKED + b"\r\n" + b"1;" + b"a" * 50 + b"\r\na\r\n" + b"1\r\na\r\n" * 200_000,
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_ambiguous_or_oversized_is_refused(bounded: Frontend, kind: str) -> None:
    """With a problem document, and the end of the connection: what follows is not looked at."""
    said, request = REFUSED[kind]
    answer = ask(bounded, request)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == said
    assert b"connection: close" in head
    assert json.loads(body)["status"] == said


def test_the_whole_address_holds_rather_than_the_host(bounded: Frontend) -> None:
    """A request target may be a whole address (RFC 9112, 3.2.2)."""
    answer = ask(
        bounded, b"GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: elsewhere\r\n" + CLOSE + b"\r\n"
    )
    assert status(answer) == 200


def test_upgrades_are_answered_as_if_not_asked_for(bounded: Frontend) -> None:
    """By HTTP/1.1, as a client of HTTP/2 expects of a server that has none; no WebSocket either."""
    h2c = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    websocket = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert [status(ask(bounded, GET + each)) for each in (h2c, websocket)] == [200, 200]


def test_trailers_are_no_header_fields(bounded: Frontend) -> None:
    """The next request on the connection is understood as itself."""
    answer = ask(
        bounded,
        POST
        + CHUNKED
        + b"\r\n2\r\n{}\r\n0\r\nContent-Type: text/plain\r\n\r\n"
        + GET
        + CLOSE
        + b"\r\n",
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_a_client_may_wait_to_be_told_to_go_on(bounded: Frontend) -> None:
    """`Expect: 100-continue` is answered before the body comes."""
    with bounded.connect() as connection:
        post = POST.replace(b"/test", b"/silences")
        connection.sendall(post + CLOSE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(b"{}")
        assert status(received(connection)) == 422  # which rule, it does not say


def test_requests_that_were_sent_ahead_are_answered_in_order(bounded: Frontend) -> None:
    """A few at once, on one connection."""
    answer = ask(
        bounded,
        GET + b"\r\n" + POST + b"Content-Length: 2\r\n\r\n{}" + GET + CLOSE + b"\r\n",
    )
    assert [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [
        b'{"status":"ok"}', b"[]", b'{"status":"ok"}',
    ]  # fmt: skip


def test_requests_sent_ahead_by_a_client_that_breaks_off_are_dropped(bounded: Frontend) -> None:
    """Each of them, not the last alone: an answer to nobody would be a traceback in the log."""
    before = len(bounded.process.output)
    image = photos()[0].read_bytes()
    head = "POST /api/v1/detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    detect = f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image
    for _ in range(5):
        with bounded.connect() as connection:
            reset = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            connection.sendall(detect + GET + b"\r\n")
    with bounded.client() as client:  # behind them in the queue
        url = "/api/v1/detect"
        assert client.post(url, content=image, headers={"content-type": "image/jpeg"}).is_success
    assert "Traceback" not in bounded.process.output[before:]
