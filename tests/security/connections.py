"""Clients that mean no good, and the frontend that meets them: with a real Redis and a worker."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from redis import Redis

from tests.servers import Process, RedisProcess, eventually, free_port, worker

HOST = "127.0.0.1"
#: Of uploads, in the frontend that most of these tests share.
MEMORY_MB = 128


@dataclass(frozen=True)
class Frontend:
    """One frontend process, and where it listens."""

    process: Process
    port: int
    redis: Redis

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def connect(self, source: str = HOST) -> socket.socket:
        """A connection from this address; every one of 127.0.0.0/8 is ours."""
        return socket.create_connection((HOST, self.port), timeout=60, source_address=(source, 0))

    def client(self, source: str = HOST) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=source)
        return httpx.Client(base_url=self.url, timeout=60, transport=transport)

    def memory(self) -> int:
        """Bytes in memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@contextmanager
def frontend(folder: Path, *, open_files: int | None = None, **env: str) -> Iterator[Frontend]:
    """`damoscope frontend` with a Redis and a worker, under a limit of open files."""
    port = free_port()
    limit = f"ulimit -n {open_files}; " if open_files else ""
    command = f'{limit}exec "{sys.executable}" -m run frontend --port {port}'
    with ExitStack() as stack:
        redis = stack.enter_context(RedisProcess(folder / "redis"))
        stack.enter_context(worker(redis.url, folder / "worker"))
        process = stack.enter_context(
            Process(["sh", "-c", command], folder / "frontend", {"REDIS_URL": redis.url} | env)
        )
        found = Frontend(process, port, redis.client)

        def ready() -> bool:
            assert process.running, process.output
            try:
                return httpx.get(f"{found.url}/readyz", timeout=60).status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, "readiness")
        yield found


def files_for(count: int) -> None:
    """Let this process open so many files more, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = psutil.Process().num_fds() + count
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def received(connection: socket.socket, patience_s: float = 60) -> bytes:
    """Everything until the other side ends the connection."""
    connection.settimeout(patience_s)
    found = bytearray()
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionError:
        pass
    return bytes(found)


def at_hand(connection: socket.socket) -> bytes:
    """What has been answered by now."""
    connection.setblocking(False)
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def status(answer: bytes) -> int:
    """The status of the first answer; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
