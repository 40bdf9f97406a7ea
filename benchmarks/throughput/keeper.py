"""Run one command and, when it or this process's parent ends, end all that it started.

    python -m benchmarks.throughput.keeper COMMAND ...

Servers start helpers that leave their process group, or outlive them when killed. Here all of
them stay descendants of this process, because it adopts orphans, and none outlives it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
#: Seconds for the command to end by itself after SIGTERM.
PATIENCE_S = 10.0


def _adopt_orphans_and_follow_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_descendants() -> None:
    """Until none is left: one that is killed may have just started another."""
    while left := psutil.Process().children(recursive=True):
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        while _reap():
            pass
        time.sleep(0.02)


def _reap() -> bool:
    """Take the exit status of one ended child; False when there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def main() -> None:
    """Exit code: the command's."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: asked.append(got))
    _adopt_orphans_and_follow_parent()
    if os.getppid() == 1:  # the parent ended before we could follow it
        sys.exit(1)
    child = subprocess.Popen(sys.argv[1:], start_new_session=True)
    deadline = float("inf")
    try:
        while child.poll() is None and time.monotonic() < deadline:
            if asked and deadline == float("inf"):
                child.terminate()
                deadline = time.monotonic() + PATIENCE_S
            time.sleep(0.02 if asked else 0.1)
    finally:
        _kill_descendants()
    sys.exit(child.returncode or 0)


if __name__ == "__main__":
    main()
