"""run.processes: programs are started, kept running, and stopped in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.errors import ConfigurationError
from run.health import Check, always
from run.processes import (
    RAN_WELL_S,
    READY_WELL_S,
    RESTART_S,
    START_TRIES,
    CannotStart,
    NotReady,
    Process,
    Program,
    Supervisor,
)
from tests.paths import ROOT
from tests.servers import Process as ServerProcess
from tests.servers import eventually, left_running, run

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervised = Supervisor(tmp_path)
    yield supervised
    supervised.stop()


def program(code: str, name: str = "p", **options: Any) -> Program:
    return Program(name, [sys.executable, "-c", code], **options)


def says(folder: Path, text: str = "up", name: str = "p") -> Check:
    """Ready once the program's log has this text."""
    log = folder / f"{name}.log"
    return lambda _: log.exists() and text in log.read_text()


def alive(pid: int | None) -> bool:
    return pid is not None and psutil.pid_exists(pid)


def test_what_dies_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    """Another process of the same program, which has to become ready anew."""
    (process,) = supervisor.start(program(SLEEP, ready=says(tmp_path)))
    supervisor.wait_until_ready(60)
    old = process.pid
    process.signal(signal.SIGKILL)
    eventually(lambda: process.exit_code == -signal.SIGKILL, "its death")
    assert not process.is_ready()
    supervisor.wait_until_ready(60)
    assert alive(process.pid)
    assert process.pid != old


def test_what_cannot_start_is_named(supervisor: Supervisor) -> None:
    """After a few tries, with the end of what it printed."""
    supervisor.start(program(SLEEP, "well"), program("raise SystemExit('no such model')"))
    supervisor.start(program(SLEEP, "slow", ready=lambda _: False))
    with pytest.raises(CannotStart, match=r"(?s)^p does not start.*no such model") as raised:
        supervisor.wait_until_ready()
    assert raised.value.exit_code == 1
    assert supervisor.processes["p"].deaths == START_TRIES


def test_what_ends_again_and_again(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    """Is tried after pauses that double, up to a minute, and is said not to start, once. When it
    has run well, neither is so any more."""
    (process,) = supervisor.start(program("print('no model'); raise SystemExit(3)"))
    pauses: list[float] = []

    def look() -> bool:
        before = process._delay_s
        process.look_after()
        if process._due is not None:
            if process._delay_s != before:
                pauses.append(before)
            process._due = 0.0  # it is time
        return process._delay_s == RESTART_S[1]

    eventually(look, "the longest pause")
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32]
    assert process.problem == "exit code 3: no model"
    assert caplog.text.count("p does not start: it ended 3 times in a row") == 1
    process.join()
    process.program = program(SLEEP)
    process.start()
    process._began -= RAN_WELL_S
    process.look_after()
    assert (process.problem, process._delay_s) == ("", RESTART_S[0])


def test_what_was_ready_before_it_died(supervisor: Supervisor) -> None:
    """Is started again after the shortest pause, however often it is killed: it does start."""
    ready = threading.Event()
    (process,) = supervisor.start(program(SLEEP, ready=lambda _: ready.is_set()))
    for was_ready in (False, False, True, True):
        (ready.set if was_ready else ready.clear)()
        process.look_after()
        if was_ready:
            assert process.is_ready()
            process._began -= READY_WELL_S
            process.look_after()
            assert process._delay_s == RESTART_S[0]
        process.signal(signal.SIGKILL)
        eventually(lambda: process.exit_code == -signal.SIGKILL, "its death")
        process.look_after()
        process._due = 0.0
        process.look_after()
        assert process.pid is not None
    assert (process.deaths, process.problem) == (4, "")


def test_a_signal_at_any_moment(tmp_path: Path) -> None:
    """One that comes in a hook of fork, where Python drops what is raised, stops all the same."""
    code = (
        "import os, signal, sys; from run.processes import *\n"
        "stop_on_signals(); supervisor = Supervisor()\n"
        "os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGINT))\n"
        f"command = [sys.executable, '-c', {SLEEP!r}]\n"
        "try: supervisor.start(Program('p', command)); supervisor.keep_running()\n"
        "except Stopped: supervisor.stop()\n"
    )
    with ServerProcess([sys.executable, "-c", code], tmp_path) as process:
        assert process.wait() == 0
        assert left_running(tmp_path) == []


def test_a_second_signal(tmp_path: Path) -> None:
    """Has everything stop at once, and leaves nothing behind either."""
    code = (
        "import pathlib, sys; from run.processes import *\n"
        "stop_on_signals(); supervisor = Supervisor()\n"
        f"command = [sys.executable, '-c', {STUBBORN!r}]\n"
        "supervisor.start(Program('p', command, stop_timeout_s=600))\n"
        "try: supervisor.keep_running()\n"
        "except Stopped: print('stopping', flush=True); supervisor.stop()\n"
    )
    with ServerProcess([sys.executable, "-c", code], tmp_path) as process:
        process.wait_for("up")
        process.send(signal.SIGINT)
        process.wait_for("stopping")
        process.send(signal.SIGINT)
        assert process.wait() == 0
        assert left_running(tmp_path) == []


def test_what_says_that_it_cannot_work(supervisor: Supervisor) -> None:
    """Is not tried again, when it says so at its first start."""
    (process,) = supervisor.start(program("raise SystemExit(2)", fatal_exit_code=2))
    with pytest.raises(CannotStart) as raised:
        eventually(supervisor.look_after, "an error")
    assert raised.value.exit_code == 2
    assert process.deaths == 1


def test_what_is_not_ready_in_time_is_named(supervisor: Supervisor) -> None:
    """And goes on running, so that one can wait for longer."""
    (process,) = supervisor.start(program(SLEEP, ready=lambda _: False))
    with pytest.raises(NotReady, match="p is not ready after 0 s"):
        supervisor.wait_until_ready(0)
    assert alive(process.pid)


def test_a_missing_command(supervisor: Supervisor) -> None:
    """One clear error."""
    with pytest.raises(ConfigurationError, match="p cannot be started"):
        supervisor.start(Program("p", ["/no/such/program"]))


def test_stopping(supervisor: Supervisor, tmp_path: Path) -> None:
    """In the order that the programs say; those of one number together."""
    code = (
        "import pathlib, signal, sys\n"
        "def end(*_):\n"
        f"  with open({str(tmp_path / 'ends')!r}, 'a') as ends: ends.write(sys.argv[1] + '\\n')\n"
        "  sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True)\n"
        "signal.pause()\n"
    )
    for number, name in ((2, "last"), (0, "first"), (1, "middle"), (0, "also first")):
        command = [sys.executable, "-c", code, name]
        supervisor.start(Program(name, command, ready=says(tmp_path, name=name), stop_order=number))
    supervisor.wait_until_ready(60)
    supervisor.stop(["also first"])
    assert list(supervisor.processes) == ["last", "first", "middle"]
    supervisor.stop()
    assert (tmp_path / "ends").read_text().splitlines() == ["also first", "first", "middle", "last"]


def test_what_outlives_its_time_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    """It and all that it started."""
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])"
    code = f"{code}; {STUBBORN}"
    (process,) = supervisor.start(program(code, stop_timeout_s=0.2, ready=says(tmp_path, "up\nup")))
    supervisor.wait_until_ready(60)
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]
    assert len(family) == 2
    supervisor.stop()
    eventually(lambda: not any(map(alive, family)), "both to be gone")


def test_nothing_outlives_us(tmp_path: Path) -> None:
    """Whatever happens to who started it."""
    code = (
        "import os, pathlib, sys; from run.processes import Process, Program\n"
        f"process = Process(Program('p', [sys.executable, '-c', {SLEEP!r}]), pathlib.Path())\n"
        "process.start(); print(process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == -signal.SIGKILL, done.stderr
    eventually(lambda: not alive(int(done.stdout)), "it to end")


def test_a_stopped_process_stays_stopped(supervisor: Supervisor) -> None:
    """Who stops one by itself starts it again by itself."""
    (process,) = supervisor.start(program(SLEEP))
    process.stop()
    supervisor.look_after()
    assert process.pid is None
    process.start()
    assert alive(process.pid)


def test_without_logs(capfd: pytest.CaptureFixture[str]) -> None:
    """What a program prints goes where we print."""
    process = Process(program("print(1 + 1)", ready=always))
    process.start()
    eventually(lambda: process.exit_code == 0, "its end")
    assert capfd.readouterr().out == "2\n"
    assert os.getpid() not in (process.pid, None)
