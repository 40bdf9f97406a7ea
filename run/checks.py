"""What must hold before anything is started, each said in one line that names the setting."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from redis.exceptions import RedisError

from pipeline.connection import connect, explain
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from run.listening import listening


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
    """We can listen there. Said once, here, before anything is started."""
    for opened in listening(host, number):
        opened.close()


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
