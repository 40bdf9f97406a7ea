"""A store in a folder of its own, with a clock that tests move."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from monitoring.stores.embedded.store import EmbeddedStore
from tests.monitoring.receivers import Hook, Mailbox
from tests.paths import ROOT

#: Where the clock starts: a full hour, so that buckets begin with it.
NOW_S = 1_800_000_000.0 - 1_800_000_000.0 % 3600


class Clock:
    """Seconds since the epoch, as far as the store knows."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def program(name: str) -> str:
    """Path of a server that a test runs: from PATH, or where `make stack` puts it.

    `make test-stack` obtains it first, so that its absence is an error.
    """
    found = shutil.which(name) or shutil.which(name, path=str(ROOT / ".cache" / "stack" / "bin"))
    if found is None:
        pytest.fail(f"{name} is neither on PATH nor in .cache/stack/bin: run `make test-stack`")
    return found


@contextmanager
def running(command: list[str], folder: Path, ready_url: str) -> Iterator[None]:
    """Run a server until the end of the block, from when `ready_url` answers 200."""
    with (folder / "output").open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not _answers(ready_url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]}: {(folder / 'output').read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        server.kill()  # it has nothing to save
        server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.db"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(path, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook().running() as running:
        yield running


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox().running() as running:
        yield running
