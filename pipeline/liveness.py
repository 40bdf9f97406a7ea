"""The last resort of a process that stands still: it says where, and ends.

Whoever keeps it running (`damoscope up`, Docker, systemd) starts it again. None of them does that
for a process that is alive and does nothing, so the process itself has to notice.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.complaints import complaints
from pipeline.errors import ConfigurationError

log = logging.getLogger("damoscope")

#: Seconds without a sign of life after which a process ends itself.
STALLED_S = 15.0
#: Seconds between two looks, and for the line of log about the end.
LOOK_S, SAY_S = 0.5, 1.0
#: Exit code of a process that stood still (`EX_SOFTWARE` of sysexits.h).
STALLED_EXIT_CODE = 70


class Alive(Protocol):
    """A loop's sign of life."""

    def __call__(self, beyond_s: float = 0.0) -> None:
        """I move, and may be silent for so many seconds more than usual."""


@dataclass
class _Loop:
    #: Looks without a sign of life, and how many there may be.
    silent: int
    most: int


class Liveness:
    """Ends this process when one of its loops gives no sign of life for too long.

    Time counts only while the process may run: a look that comes late counts as one that was in
    time, so neither a machine that slept or was paused (SIGSTOP, a frozen container) nor one that
    is overloaded is taken for a stall.

    Looks need turns of the interpreter. A call that keeps all of them to itself, such as a regular
    expression that never ends, is caught by a timer of processor time, which the looks keep
    setting back: its signal says where the threads are and ends the process without Python.

    Whoever keeps the process running can look as well: each look gives `heartbeat_file` the time of
    now. A file that ages is the process' that cannot even look.
    """

    def __init__(self, heartbeat_file: Path | None = None) -> None:
        self._file = heartbeat_file
        self._loops: dict[str, _Loop] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="liveness", daemon=True)

    def watch(self, name: str, stalled_s: float = STALLED_S) -> Alive:
        """Watch a loop from now on. Returns what it has to call as its sign of life, if need be
        with the seconds that it may be silent for beyond its limit."""
        loop = self._loops[name] = _Loop(0, max(1, round(stalled_s / LOOK_S)))

        def alive(beyond_s: float = 0.0) -> None:
            loop.silent = -round(beyond_s / LOOK_S)

        return alive

    def start(self) -> None:
        """Begin to look. To be called by the main thread."""
        faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)
        self._beat()
        self._thread.start()

    def close(self) -> None:
        """Look no longer."""
        self._ends.set()
        self._thread.join(2 * LOOK_S)
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def _beat(self) -> None:
        if self._file is None:
            return
        try:
            self._file.touch()
        except OSError as error:
            if complaints.due("heartbeat file"):
                log.warning("%s: no sign of life for probes: %s", self._file, error.strerror)

    def _watch(self) -> None:
        # The most that a process uses between two looks, of which one is late, and the limit.
        cpu_s = STALLED_S + 2 * LOOK_S * len(os.sched_getaffinity(0))
        while not self._ends.is_set():
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            self._ends.wait(LOOK_S)
            for name, loop in list(self._loops.items()):
                loop.silent += 1
                if loop.silent > loop.most and not self._ends.is_set():
                    _end(name, loop.most * LOOK_S)
            self._beat()


def forget(heartbeat_file: Path | None) -> None:
    """Remove a heartbeat file: what a process before this one left behind says nothing of it.
    Raises ConfigurationError where it cannot be written, or is a file with something in it."""
    if heartbeat_file is None:
        return
    try:
        heartbeat_file.parent.mkdir(parents=True, exist_ok=True)
        heartbeat_file.touch()
        if heartbeat_file.stat().st_size:
            raise ConfigurationError(
                f"DAMOSCOPE_HEARTBEAT_FILE={heartbeat_file}: something else is in this file; name "
                "one that nobody needs"
            )
        heartbeat_file.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"DAMOSCOPE_HEARTBEAT_FILE={heartbeat_file}: cannot be written: {error.strerror}"
        ) from error


def _end(name: str, after_s: float) -> None:
    # In a thread: what stands still may hold the log's lock.
    said = threading.Thread(
        target=log.critical,
        args=("%s stood still for %g s: this process ends; its threads are at", name, after_s),
        daemon=True,
    )
    said.start()
    said.join(SAY_S)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(STALLED_EXIT_CODE)
