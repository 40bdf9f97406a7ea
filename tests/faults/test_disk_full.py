"""A disk without room: under the data folder of a running service."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.stores.selection import FILE_NAME
from tests.integration import pictures
from tests.servers import Service, eventually

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
SIZE = 64 * 2**20


@pytest.fixture
def small() -> Iterator[Path]:
    """A file system of its own, of 64 MiB."""
    folder = Path(tempfile.mkdtemp(prefix="damoscope-small-"))
    mounted = os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)],
        capture_output=True, check=False,
    ).returncode  # fmt: skip
    if not mounted:
        folder.rmdir()
        pytest.skip("a file system can be mounted by root only, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def fill(file: Path) -> None:
    """Take all the room that there is."""
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as opened:
        for size in (2**20, 4096, 1):
            with contextlib.suppress(OSError):
                while opened.write(b"x" * size):
                    pass


def test_the_disk_is_full(small: Path) -> None:
    """`/readyz` says so, images are refused with 503 and the cause, nothing dies; once there is
    room all is well again by itself, and nothing is taken for damage."""
    home, ballast = small / "home", small / "ballast"
    with Service(home).wait_until_ready() as service, service.client() as client:
        pids = {process.pid for process in service.family()}

        def detect() -> int:
            fill(ballast) if ballast.exists() else None  # whatever became free is taken
            answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
            said.append(answer.text)
            return answer.status_code

        said: list[str] = []
        assert detect() == 200
        fill(ballast)
        eventually(lambda: detect() == 503, "that an image is refused")
        assert "disk" in said[-1], said[-1]

        def not_ready_for_the_disk() -> bool:
            ready = client.get("/readyz")
            return ready.status_code == 503 and "disk" in ready.text

        eventually(not_ready_for_the_disk, "that it is not ready, and why")
        assert client.get("/healthz").status_code == 200
        assert {process.pid for process in service.family()} == pids, service.output

        ballast.unlink()
        eventually(lambda: client.get("/readyz").status_code == 200, "ready again")
        eventually(lambda: detect() == 200, "an image")
        answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
        trace = answer.headers["x-trace-id"]
        eventually(lambda: trace in client.get("/api/v1/traces?limit=1000").text, "its trace")
        assert {process.pid for process in service.family()} == pids, service.output
        assert not list(home.glob(f"{FILE_NAME}.damaged-*"))
        assert shutil.disk_usage(small).free > 2**20
