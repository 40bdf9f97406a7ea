"""The load generator: clients on keep-alive connections that each send one image after another.

    python -m benchmarks.throughput.load PORT PATH PICTURE --clients 8 --seconds 10

A process of its own that speaks raw HTTP/1.1, so that it costs little of the machine it shares
with the server. It prints `begin` and `end` around what is measured, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from pathlib import Path

HOST = "127.0.0.1"
#: Seconds that a client pauses after an answer that was none.
AFTER_ERROR_S = 0.1
#: Room for a whole request in the socket, so that sending does not wait for the server to read.
SEND_BUFFER = 1 << 20


class Client(asyncio.Protocol):
    """One connection: sends the request, reads the answer, and begins again."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._answer: asyncio.Future[bytes] | None = None
        self._buffer = bytearray()
        self._length: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._length is None:
            self._length = answer_length(self._buffer)
        complete = (
            self._buffer.endswith(b"0\r\n\r\n")
            if self._length == CHUNKED
            else self._length is not None and len(self._buffer) >= self._length
        )
        if complete and self._answer and not self._answer.done():
            self._answer.set_result(bytes(self._buffer))

    async def ask(self) -> bytes:
        """Send the request; the whole answer, head included."""
        self._buffer.clear()
        self._length = None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        return await self._answer

    def close(self) -> None:
        self._transport.close()


CHUNKED = -1


def answer_length(buffer: bytes | bytearray) -> int | None:
    """Bytes of the whole answer, CHUNKED, or None while its head is not complete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    for line in bytes(buffer[:end]).lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return end + 4 + int(value)
        if name == b"transfer-encoding" and b"chunked" in value:
            return CHUNKED
    return end + 4


def is_good(answer: bytes) -> bool:
    """Whether an answer is a 200 that holds at least one detection."""
    return answer[9:12] == b"200" and b'"detections"' in answer and b'"score"' in answer


class Load:
    """All clients; `done` has (time of the answer, latency) of each good one, in seconds."""

    def __init__(self, port: int, request: bytes, pause_s: float) -> None:
        self._port, self._request, self._pause_s = port, request, pause_s
        self.done: list[tuple[float, float]] = []
        self.errors = 0
        self.first_error = ""

    async def client(self) -> None:
        """Send until cancelled; a lost connection is opened again."""
        while True:
            try:
                await self._connected()
            except OSError as error:
                self._fail(str(error) or type(error).__name__)
            await asyncio.sleep(AFTER_ERROR_S)

    async def _connected(self) -> None:
        loop = asyncio.get_running_loop()
        plain = socket.create_connection((HOST, self._port))
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, client = await loop.create_connection(lambda: Client(self._request), sock=plain)
        try:
            while True:
                began = time.perf_counter()
                answer = await client.ask()
                ended = time.perf_counter()
                if is_good(answer):
                    self.done.append((ended, ended - began))
                else:
                    self._fail(answer[:400].decode(errors="replace"))
                    await asyncio.sleep(AFTER_ERROR_S)
                if self._pause_s:
                    await asyncio.sleep(self._pause_s)
        finally:
            client.close()

    def _fail(self, what: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or what


def request(path: str, body: bytes) -> bytes:
    """The whole request as it is sent."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: image/jpeg\r\n"
        f"accept: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def measure(load: Load, clients: int, warmup_s: float, seconds: float, images: int) -> None:
    """Warm up, then send for `seconds`, or until `images` are answered where that is given."""
    tasks = [asyncio.create_task(load.client()) for _ in range(clients)]
    await asyncio.sleep(warmup_s)
    load.done.clear()
    load.errors = 0
    cpu, began = time.process_time(), time.perf_counter()
    print("begin", flush=True)
    while time.perf_counter() - began < seconds and not 0 < images <= len(load.done):
        await asyncio.sleep(0.05 if images else seconds)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    latencies = [latency for ended, latency in load.done if began <= ended <= began + took]
    print("end", flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(
        json.dumps(
            {
                "seconds": took,
                "latencies_s": latencies,
                "errors": load.errors,
                "first_error": load.first_error,
                "client_cpu_s": cpu,
            }
        ),
        flush=True,
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before it counts")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two images")
    parser.add_argument("--images", type=int, default=0, help="end after so many")
    options = parser.parse_args()
    load = Load(options.port, request(options.path, options.picture.read_bytes()), options.pause)
    work = measure(load, options.clients, options.warmup, options.seconds, options.images)
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
