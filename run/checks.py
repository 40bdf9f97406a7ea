"""What must hold before anything is started, each said in one line that names the setting."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from redis.exceptions import RedisError

from models.errors import ModelStoreError
from models.store import Store
from pipeline.connection import connect, explain
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from run.listening import listening

#: Characters that are read of who holds a data folder.
OWNER_MOST = 200


@contextmanager
def locked_home(home: Path, address: str) -> Iterator[None]:
    """The data folder is there, and ours alone while the block runs. Who else would use it is told
    our process id and address."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (home / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(f"DAMOSCOPE_HOME={home}: cannot be written: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            whose = " ".join(lock.read(OWNER_MOST).split())
            raise ConfigurationError(
                f"DAMOSCOPE_HOME={home}: another damoscope runs there"
                f"{f' ({whose})' if whose else ''}; stop it, or name another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, {address}\n")
        lock.flush()
        yield


def port(host: str, number: int) -> None:
    """We can listen there. Said once, here, before anything is started."""
    for opened in listening(host, number):
        opened.close()


def model(settings: Settings) -> None:
    """There are such a file, and such models; said once, here, rather than by every worker."""
    named = settings.model
    try:
        file = Store(settings.models_folder).resolve(named).file
    except ModelStoreError as error:
        raise ConfigurationError(f"DAMOSCOPE_MODEL={named}: {error}") from error
    if not file.is_file():
        raise ConfigurationError(
            f"DAMOSCOPE_MODEL={named}: there is no such file; set it to a DAMO-YOLO ONNX file"
        )
    if settings.serves is not None:
        raise ConfigurationError(
            f"DAMOSCOPE_SERVES={settings.serves} is for `damoscope worker`; for `damoscope up` set "
            f"DAMOSCOPE_MODELS_BESIDE={settings.serves}"
        )
    for name in settings.workers_beside:
        try:
            Store(settings.models_folder).named(name)
        except ModelStoreError as error:
            setting = "SHADOW" if name == settings.shadow else "MODELS_BESIDE"
            raise ConfigurationError(f"DAMOSCOPE_{setting}: {name}: {error}") from error


def redis(settings: Settings) -> None:
    """It answers. Asked once: whoever starts the service waits for this."""
    with connect(settings, retries=0) as client:
        try:
            client.ping()
        except (RedisError, OSError) as error:
            # Of which address is not said: it may hold a password.
            raise ConfigurationError(f"REDIS_URL: {explain(error)}") from None
