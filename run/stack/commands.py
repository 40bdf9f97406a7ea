"""`run`, `up`, `down`, `scale`, `status`: the stack as a process that other commands can reach.

That process leaves a state file, reads the wanted number of workers from another, starts again
what dies, and stops everything when it gets SIGTERM or Ctrl-C. What it started ends with it, even
when it is killed.
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

from pipeline.errors import ConfigurationError
from run.processes import Stopped, stop_on_signals
from run.stack.native import OVERLAY_NONE, ROOT, Stack
from run.stack.ports import HOST, Ports

STATE = "state.json"
WORKERS = "workers"
#: Seconds that workers may take to load their model.
SCALE_TIMEOUT_S = 180.0
#: Starting may build the binaries first.
START_TIMEOUT_S = 1800.0


def run(home: Path, ports: Ports, workers: int, overlay: str = OVERLAY_NONE) -> None:
    """Run the stack in the foreground until SIGTERM or Ctrl-C."""
    _check_free(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / WORKERS).write_text(str(workers))
    # What is built or downloaded first is left at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        stack = Stack(home, ports, overlay=overlay)
        stop_on_signals()
        with stack:
            stack.start_app(workers)
            print("\n".join(addresses(ports, stack.layout.jaeger_has_pages)), flush=True)
            while True:
                _write_state(home, stack)
                time.sleep(1.0)
                stack.supervisor.look_after()
                _follow(home, stack)
    except (Stopped, KeyboardInterrupt):
        print("stopped", flush=True)
    finally:
        (home / STATE).unlink(missing_ok=True)


def _follow(home: Path, stack: Stack) -> None:
    """Run as many workers as `scale` has asked for."""
    wanted = _wanted(home)
    if wanted != sum(name.startswith("worker-") for name in stack.processes):
        stack.scale(wanted)


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
            raise ConfigurationError(f"the stack did not start, see {log}")
        if (home / STATE).exists():
            return
        time.sleep(0.2)
    child.terminate()
    raise ConfigurationError(f"the stack was not ready in {START_TIMEOUT_S:.0f} s, see {log}")


def down(home: Path, timeout_s: float = 180.0) -> bool:
    """Stop the stack and wait for its end; False when none runs."""
    if not (state := _running(home)):
        return False
    os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while _running(home):
        if time.monotonic() > deadline:
            raise ConfigurationError(f"process {state['pid']} did not end in {timeout_s:.0f} s")
        time.sleep(0.1)
    return True


def _check_free(home: Path) -> None:
    """Raise ConfigurationError when a stack uses this data folder."""
    if state := _running(home):
        raise ConfigurationError(
            f"already running (process {state['pid']}); `make stack-down` stops it"
        )


def scale(home: Path, workers: int, say: Callable[[str], None]) -> None:
    """Set the number of workers of the running stack, and wait until those are ready.

    Raises ConfigurationError when some do not start, or not in time; they are tried on.
    """
    if not _running(home):
        raise ConfigurationError("no stack runs here; `make stack` starts one")
    (home / WORKERS).write_text(str(workers))
    wanted = {f"worker-{number}" for number in range(1, workers + 1)}
    said: set[str] = set()
    deadline = time.monotonic() + SCALE_TIMEOUT_S
    while True:
        if not (state := _running(home)):
            raise ConfigurationError(f"the stack ended, see {home / 'supervisor.log'}")
        running = {name for name in state["processes"] if name.startswith("worker-")}
        ready = wanted & set(state.get("ready", ()))
        problems = {name: why for name, why in state.get("problems", {}).items() if name in wanted}
        for name in sorted(ready - said):
            say(f"  {name:<14} ready")
        said |= ready
        late = time.monotonic() > deadline
        if running == wanted and (late or ready | problems.keys() == wanted):
            break
        if late:
            raise ConfigurationError(f"the stack did not follow in {SCALE_TIMEOUT_S:.0f} s")
        time.sleep(0.2)
    if ready != wanted:
        why = {name: problems.get(name, "not ready yet") for name in sorted(wanted - ready)}
        lines = "".join(f"\n  {name:<14} {reason}" for name, reason in why.items())
        raise ConfigurationError(
            f"{len(why)} of {workers} worker(s) did not start, and are tried on; their logs are in "
            f"{home / 'log'}:{lines}"
        )


def status(home: Path) -> dict[str, Any]:
    """Ports, and each process with its id; empty when nothing runs."""
    return _running(home)


def addresses(ports: Ports, jaeger_has_pages: bool = True) -> list[str]:
    """What a person opens."""
    api = "" if jaeger_has_pages else "  (its API alone: traces are on damoscope's own pages)"
    return [
        f"damoscope   http://{HOST}:{ports.frontend}",
        f"Jaeger      http://{HOST}:{ports.jaeger}{api}",
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
        "jaeger_has_pages": stack.layout.jaeger_has_pages,
        "processes": {name: process.pid for name, process in stack.processes.items()},
        "ready": [name for name, process in stack.processes.items() if process.is_ready()],
        "problems": {
            name: process.problem for name, process in stack.processes.items() if process.problem
        },
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
