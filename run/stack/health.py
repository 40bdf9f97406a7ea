"""Ways to ask a server whether it is ready."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import urlopen

from run.stack.ports import HOST


def http(port: int, path: str) -> Callable[[], bool]:
    """Whether a GET of this path answers 200."""

    def healthy() -> bool:
        try:
            with urlopen(f"http://{HOST}:{port}{path}", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    return healthy


def redis(port: int, password: str) -> Callable[[], bool]:
    """Whether Redis takes the password and answers a PING (it refuses while loading)."""

    def healthy() -> bool:
        try:
            with socket.create_connection((HOST, port), timeout=1) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(1024)
                    if not part:
                        return False
                    answer += part
                return answer.endswith(b"+PONG\r\n")
        except OSError:
            return False

    return healthy
