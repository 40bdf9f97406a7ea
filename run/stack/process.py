"""One program that the stack runs: start, stop, health, log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

Check = Callable[[], bool]


#: Set in the environment of all that a stack starts, to its data folder: what a killed
#: supervisor left behind can be found by it.
MARK = "STACK_HOME"


class StackError(Exception):
    """The stack cannot be started; the message says what to do."""


@dataclass(frozen=True)
class Program:
    """What to run and how to tell that it is ready.

    `healthy` is asked again and again; it answers False while the program starts.
    """

    name: str
    command: Sequence[str]
    healthy: Check
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_timeout_s: float = 20.0


class Process:
    """A running `Program`, with its output in `<log_folder>/<name>.log`."""

    def __init__(self, program: Program, log_folder: Path) -> None:
        self.program = program
        self.log = log_folder / f"{program.name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Start it; does not wait. Raises StackError when there is no such program."""
        home = str(self.log.parent.parent)
        with self.log.open("ab") as output:
            try:
                # A session of its own: Ctrl-C reaches the supervisor alone, which then
                # stops its programs in order.
                self._child = subprocess.Popen(
                    list(self.program.command),
                    env={
                        **os.environ,
                        **self.program.environment,
                        MARK: home,
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"{self.program.name} cannot be started: {error}") from error

    def wait_healthy(self, timeout_s: float = 60.0, check: Check | None = None) -> float:
        """Wait until it is ready and return how long that took, in seconds.

        `check`, when given, is asked in place of the program's own. Raises StackError with
        the end of its log when it dies or takes too long.
        """
        began = time.monotonic()
        while time.monotonic() - began < timeout_s:
            if self.pid is None:
                raise StackError(f"{self.program.name} ended while starting:\n{self.tail()}")
            if (check or self.program.healthy)():
                return time.monotonic() - began
            time.sleep(0.1)
        raise StackError(f"{self.program.name} not ready in {timeout_s:.0f} s:\n{self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, as tests do to kill, hang (SIGSTOP) and wake it."""
        if self._child and self._child.poll() is None:
            self._child.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to all it started when it outlives its time."""
        self.signal(signal.SIGTERM)
        self.join()

    def join(self) -> None:
        """Wait for the end that was asked for, and enforce it when time is up."""
        if self._child is None:
            return
        try:
            self._child.wait(self.program.stop_timeout_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        self._child = None

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        if not self.log.exists():
            return "(no output)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def leftovers(home: Path) -> list[int]:
    """Ids of running processes that a stack with this data folder started."""
    mark = f"{MARK}={home.resolve()}".encode()
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if _started_by(process, mark, home.resolve())
    ]


def _started_by(process: Path, mark: bytes, home: Path) -> bool:
    try:
        if mark in (process / "environ").read_bytes().split(b"\0"):
            return True
        # Redis writes its title over its environment; it works in its data folder.
        is_redis = (process / "cmdline").read_bytes().startswith(b"redis-server ")
        return is_redis and (process / "cwd").readlink().is_relative_to(home)
    except OSError:
        return False
