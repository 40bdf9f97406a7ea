"""Processes on hosts whose time of day is wrong: libfaketime, preloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.servers import Process

SHARED_MEMORY = Path("/dev/shm")


def ahead_by(seconds: int) -> dict[str, str]:
    """What says that a clock is ahead of the true time."""
    return {"FAKETIME": f"{seconds:+d}s"}


class ClockedProcess(Process):
    """A command as on a host whose time of day is wrong; its monotonic clock is right.

    The program `faketime` is not used: it refuses to start when one with its process id was
    stopped before, since what that one had in shared memory is still there.
    """

    def __init__(
        self, command: list[str], folder: Path, env: Mapping[str, str], clock: Mapping[str, str]
    ) -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        assert found, "the Debian package faketime is missing"
        preloaded = {"LD_PRELOAD": str(found[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        super().__init__(command, folder, {**env, **preloaded, **clock})

    def stop(self) -> None:
        super().stop()
        for name in (f"faketime_shm_{self.pid}", f"sem.faketime_sem_{self.pid}"):
            (SHARED_MEMORY / name).unlink(missing_ok=True)
