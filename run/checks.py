"""What must hold before anything is started, each said in one line that names the setting."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from redis.exceptions import RedisError

from pipeline.connection import connect, explain
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings


@contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """The data folder is there, and ours alone while the block runs."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (home / "lock").open("w")
    except OSError as error:
        raise ConfigurationError(f"DAMOSCOPE_HOME={home}: cannot be written: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"DAMOSCOPE_HOME={home}: another damoscope runs there; stop it, or name another "
                "folder"
            ) from None
        yield


def port(host: str, number: int) -> None:
    """We can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except (OSError, OverflowError) as error:  # the latter: there is no such port
            raise ConfigurationError(
                f"DAMOSCOPE_PORT={number}: cannot listen on {host}:{number}: "
                f"{getattr(error, 'strerror', None) or error}; set another one"
            ) from error


def model(path: Path) -> None:
    """There is such a file; said once, here, rather than by every worker."""
    if not path.is_file():
        raise ConfigurationError(
            f"DAMOSCOPE_MODEL={path}: there is no such file; set it to a DAMO-YOLO ONNX file"
        )


def redis(settings: Settings) -> None:
    """It answers."""
    with connect(settings) as client:
        try:
            client.ping()
        except (RedisError, OSError) as error:
            # Of which address is not said: it may hold a password.
            raise ConfigurationError(f"REDIS_URL: {explain(error)}") from None
