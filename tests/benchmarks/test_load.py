"""The load generator."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from benchmarks.throughput.load import CHUNKED, Load, answer_length, is_good, measure, request
from benchmarks.throughput.process import HOST

GOOD = b'{"detections": [{"label": "phone", "score": 0.9}]}'
EMPTY = b'{"detections": []}'


def head(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def test_the_length_of_an_answer_is_known_once_its_head_is_there() -> None:
    """Header names have no case; a chunked answer has no length."""
    answer = head(200, GOOD)
    assert answer_length(answer[:20]) is None
    assert answer_length(answer) == len(answer)
    assert answer_length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n") == CHUNKED


def test_only_a_200_with_detections_is_an_answer() -> None:
    """A server that is quick because it finds nothing is not quick."""
    assert is_good(head(200, GOOD))
    assert not is_good(head(200, EMPTY))
    assert not is_good(head(503, GOOD))


@pytest.mark.parametrize(("status", "body", "good"), [(200, GOOD, True), (503, GOOD, False)])
def test_clients_send_one_image_after_another_and_count(
    capsys: pytest.CaptureFixture[str], status: int, body: bytes, good: bool
) -> None:
    """Every answer is either counted with its latency or counted as an error."""
    picture = b"x" * 300_000

    connections = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(len(picture)) == picture
                writer.write(head(status, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def run() -> Load:
        server = await asyncio.start_server(serve, HOST, 0)
        load = Load(server.sockets[0].getsockname()[1], request("/detect", picture), 0.0)
        await measure(load, clients=3, warmup_s=0.05, seconds=0.3, images=0)
        server.close()
        await asyncio.gather(*connections)
        return load

    load = asyncio.run(run())
    assert capsys.readouterr().out.startswith("begin\nend\n{")
    assert bool(load.done) == good
    assert bool(load.errors) != good
    assert all(latency > 0 for _, latency in load.done)
