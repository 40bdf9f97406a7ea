"""A frontend that is killed refuses nobody: its listening socket outlives it."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

from tests.servers import PATIENCE_S, Service, eventually

#: Connections that are made while there is no frontend.
EACH = 20


def ask(port: int) -> socket.socket:
    """A request on a new connection. Raises ConnectionRefusedError."""
    opened = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return opened


def listener(service: Service, port: int) -> psutil.Process:
    """The frontend of a port."""
    last = {service.port: "frontend"}.get(port, "--no-pages")
    (found,) = service.children(last)
    return found


def test_nobody_is_refused(tmp_path: Path) -> None:
    """Of either frontend of two, killed with SIGKILL: who connects before the next one is there
    waits for it, and is answered."""
    with Service(tmp_path / "home", DAMOSCOPE_FRONTENDS="2") as service:
        service.wait_until_ready()
        for port in (service.port + 1, service.port):
            killed = listener(service, port)
            killed.kill()
            eventually(lambda gone=killed: not gone.is_running() or gone.status() == "zombie", "it")
            waiting = [ask(port) for _ in range(EACH)]
            for one in waiting:
                with one:
                    assert one.recv(12) == b"HTTP/1.1 200"
            assert listener(service, port).pid != killed.pid
