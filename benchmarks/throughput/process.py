"""Programs under measurement: started, looked at as process trees, stopped whatever happens."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
#: Seconds for a server to answer its first image.
START_S = 120.0


class NotStarted(Exception):
    """A server did not come up; the message holds the end of what it printed."""


#: A server rests when it takes less than this share of a core for so many seconds.
REST_SHARE, REST_S = 0.2, 1.5
#: Seconds given to it; what never rests is measured as it is.
SETTLE_S = 15.0


@dataclass(frozen=True)
class Program:
    """A command, what its environment has beside the harness's own, and what it makes at start."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    #: A file that the next program needs.
    makes: Path | None = None


def free_port() -> int:
    """A TCP port on the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without anything that configures what is measured, and with `extra`."""
    ours = ("DAMOSCOPE_", "OTEL_", "REDIS_URL", "BENCH_", "OMP_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(extra or {})


class Tree:
    """Running programs and all that they started, as a context manager."""

    def __init__(self, programs: Sequence[Program], folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._keepers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for program in self._programs:
                self._start(program)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, program: Program) -> None:
        keeper = [sys.executable, "-m", "benchmarks.throughput.keeper", *program.command]
        with (self._folder / f"{program.name}.log").open("wb") as log:
            self._keepers.append(
                subprocess.Popen(
                    keeper,
                    cwd=self._folder,
                    env=environment(program.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        if program.makes is not None:
            self.wait_until(program.makes.exists, 20.0)

    def wait_until(self, ready: Callable[[], bool], patience_s: float = START_S) -> float:
        """Seconds until `ready` answered True. Raises NotStarted."""
        began = time.monotonic()
        while not ready():
            if any(keeper.poll() is not None for keeper in self._keepers):
                raise NotStarted(f"ended while starting:\n{self.tail()}")
            if time.monotonic() - began > patience_s:
                raise NotStarted(f"not ready after {patience_s:.0f} s:\n{self.tail()}")
            time.sleep(0.1)
        return time.monotonic() - began

    def settle(self) -> None:
        """Wait until nothing is left to be started: until all rest, `SETTLE_S` at the most."""
        ends = time.monotonic() + SETTLE_S
        while time.monotonic() < ends:
            used_s = self.cpu_s()
            time.sleep(REST_S)
            if self.cpu_s() - used_s < REST_SHARE * REST_S:
                return

    def stop(self) -> None:
        """End everything; the last program started is the first to be asked."""
        for keeper in reversed(self._keepers):
            keeper.terminate()
        for keeper in self._keepers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(30)
            if keeper.poll() is None:  # a keeper never hangs; but if one did
                for process in psutil.Process(keeper.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                keeper.kill()
                keeper.wait()
        self._keepers.clear()

    @property
    def printed(self) -> str:
        """All that the programs printed."""
        logs = sorted(self._folder.glob("*.log"))
        return "".join(log.read_text(errors="replace") for log in logs)

    def tail(self, lines: int = 12) -> str:
        """The end of what each program printed, without paths of this machine."""
        printed = [
            f"[{log.stem}] {line}"
            for log in sorted(self._folder.glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()[-lines:]
        ]
        return "\n".join(printed).replace(f"{ROOT}/", "").replace(str(Path.home()), "~")

    # -- what it costs ---------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """All running processes but the keepers."""
        found: list[psutil.Process] = []
        for keeper in self._keepers:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += psutil.Process(keeper.pid).children(recursive=True)
        return found

    def cpu_s(self) -> float:
        """CPU seconds used so far, those of ended children included."""
        total = 0.0
        for process in [*self.processes(), *(psutil.Process(k.pid) for k in self._keepers)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def pss_bytes(self) -> int:
        """Memory, with shared pages counted once in all."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += int(process.memory_full_info().pss)
        return total
