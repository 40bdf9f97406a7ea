"""`up`, `down`, `scale`, `status`: the stack as a process that other commands can reach.

The supervisor is the process that runs the stack. It leaves a state file, reads the wanted
number of workers from another, starts again what dies, and stops everything when it
gets SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from run.stack.native import OVERLAY_NONE, ROOT, Stack
from run.stack.ports import HOST, Ports
from run.stack.process import StackError, leftovers

STATE = "state.json"
WORKERS = "workers"
#: Starting may build the binaries first.
START_TIMEOUT_S = 1800.0
#: For what a killed supervisor left, before it is killed too.
LEFTOVERS_TIMEOUT_S = 30.0


class _Stopped(BaseException):
    """SIGTERM or Ctrl-C came."""


def run(home: Path, ports: Ports, workers: int, overlay: str = OVERLAY_NONE) -> None:
    """Run the stack in the foreground until SIGTERM or Ctrl-C."""
    _check_free(home)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    home.mkdir(parents=True, exist_ok=True)
    (home / WORKERS).write_text(str(workers))
    try:
        with Stack(home, ports, overlay=overlay) as stack:
            stack.start_app(workers)
            _write_state(home, stack)
            print("\n".join(addresses(ports)), flush=True)
            _watch(home, stack)
    except _Stopped:
        print("stopped", flush=True)
    finally:
        (home / STATE).unlink(missing_ok=True)


def _stop(*_: object) -> None:
    # Once: stopping takes its time, and a second Ctrl-C must not leave servers behind.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    print("stopping: batches in hand are finished first", flush=True)
    raise _Stopped


def _watch(home: Path, stack: Stack) -> None:
    while True:
        time.sleep(1.0)
        for name in stack.restart_dead():
            print(f"{name} had ended: started again (see {stack.layout.logs})", flush=True)
        wanted = _wanted(home)
        if wanted != sum(name.startswith("worker-") for name in stack.processes):
            stack.scale(wanted)
        _write_state(home, stack)


def up(home: Path, ports: Ports, workers: int, overlay: str, say: Callable[[str], None]) -> None:
    """Start the supervisor in the background and wait until the stack is ready."""
    _check_free(home)
    home.mkdir(parents=True, exist_ok=True)
    log = home / "supervisor.log"
    command = [sys.executable, "-m", "run.stack", "run", f"--home={home}", f"--workers={workers}"]
    command.append(f"--overlay={overlay}")
    command += [f"--port={name}={port}" for name, port in vars(ports).items()]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    shown, deadline = 0, time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        lines = log.read_text(errors="replace").splitlines()
        for line in lines[shown:]:
            say(line)
        shown = len(lines)
        if child.poll() is not None:
            raise StackError(f"the stack did not start, see {log}")
        if (home / STATE).exists():
            return
        time.sleep(0.2)
    child.terminate()
    raise StackError(f"the stack was not ready in {START_TIMEOUT_S:.0f} s, see {log}")


def down(home: Path, timeout_s: float = 180.0) -> bool:
    """Stop the stack and wait for its end; False when none runs.

    What a supervisor left behind that was itself killed is stopped too.
    """
    if state := _running(home):
        os.kill(state["pid"], signal.SIGTERM)
    deadline, stopped = time.monotonic() + timeout_s, bool(state)
    while _running(home):
        if time.monotonic() > deadline:
            raise StackError(f"process {state['pid']} did not end in {timeout_s:.0f} s")
        time.sleep(0.1)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in leftovers(home):
            stopped = True
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + LEFTOVERS_TIMEOUT_S
        while leftovers(home) and time.monotonic() < deadline:
            time.sleep(0.1)
    return stopped


def _check_free(home: Path) -> None:
    """Raise StackError when a stack, or what is left of one, uses this data folder."""
    if state := _running(home):
        raise StackError(f"already running (process {state['pid']}); `make stack-down` stops it")
    if left := leftovers(home):
        raise StackError(
            f"left by an earlier stack: processes {left}; `make stack-down` stops them"
        )


def scale(home: Path, workers: int) -> None:
    """Set the number of workers of the running stack."""
    if not _running(home):
        raise StackError("no stack runs here; `make stack` starts one")
    (home / WORKERS).write_text(str(workers))


def status(home: Path) -> dict[str, Any]:
    """Ports, and each process with its id; empty when nothing runs."""
    return _running(home)


def addresses(ports: Ports) -> list[str]:
    """What a person opens."""
    return [
        f"damoscope   http://{HOST}:{ports.frontend}",
        f"Jaeger      http://{HOST}:{ports.jaeger}",
        f"Prometheus  http://{HOST}:{ports.prometheus}",
        f"Alerts      http://{HOST}:{ports.alertmanager}",
    ]


def _wanted(home: Path) -> int:
    with suppress(OSError, ValueError):
        return max(0, int((home / WORKERS).read_text()))
    return 0


def _write_state(home: Path, stack: Stack) -> None:
    state = {
        "pid": os.getpid(),
        "ports": vars(stack.ports),
        "processes": {name: process.pid for name, process in stack.processes.items()},
    }
    new = home / f"{STATE}.new"
    new.write_text(json.dumps(state, indent=2))
    new.replace(home / STATE)


def _running(home: Path) -> dict[str, Any]:
    """The state of the supervisor that runs with this home; empty when none does."""
    try:
        state: dict[str, Any] = json.loads((home / STATE).read_text())
        command = Path(f"/proc/{state['pid']}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError):
        return {}
    # The id may belong to another program by now.
    return state if b"run.stack" in command else {}
