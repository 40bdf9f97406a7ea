"""A process that stands still says where, and ends; one that was paused goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline import liveness
from pipeline.errors import ConfigurationError
from pipeline.liveness import STALLED_EXIT_CODE
from tests.servers import PATIENCE_S, Process, environment, eventually, run

#: A loop that may be silent for a second. What it does then is said as an argument.
LOOP = """
import logging, re, sys, threading, time
from pipeline import liveness
liveness.STALLED_S = 0.5
one = liveness.Liveness()
alive = one.watch("the loop", 1.0)
one.start()
print("up", flush=True)
for _ in range(60):
    alive()
    time.sleep(0.05)
{stall}
one.close()
print("well", flush=True)
"""
SLEEPS = "time.sleep(120)"
HOLDS_THE_LOG = "logging.getLogger().handlers or logging.basicConfig(); "
HOLDS_THE_LOG += "logging.getLogger().handlers[0].acquire(); time.sleep(120)"
KEEPS_ALL_TURNS = "re.match('(a+)+$', 'a' * 60 + 'b')"
MAY_BE_SILENT = "alive(120.0); time.sleep(4)"


def loop(stall: str) -> list[str]:
    return [sys.executable, "-c", LOOP.replace("{stall}", stall)]


@pytest.mark.parametrize("stall", [SLEEPS, HOLDS_THE_LOG])
def test_a_loop_that_stands_still(tmp_path: Path, stall: str) -> None:
    """Ends its process with a code of its own, and says where each thread is: also when it holds
    the log's lock."""
    done = run(loop(stall), tmp_path)
    assert done.returncode == STALLED_EXIT_CODE, done.stderr
    assert ("the loop stood still for 1 s" in done.stderr) == (stall == SLEEPS)
    assert "Thread" in done.stderr
    assert 'File "<string>"' in done.stderr
    assert "well" not in done.stdout


def test_a_call_that_keeps_all_turns_to_itself(tmp_path: Path) -> None:
    """Is ended by a timer of processor time, which needs no turn of Python's."""
    done = run(loop(KEEPS_ALL_TURNS), tmp_path)
    assert done.returncode == -signal.SIGPROF, done.stderr
    assert 'File "<string>"' in done.stderr


def test_a_loop_that_moves(tmp_path: Path) -> None:
    """Lives, and one that said beforehand that it would be silent, too."""
    done = run(loop(MAY_BE_SILENT), tmp_path)
    assert (done.returncode, done.stdout) == (0, "up\nwell\n"), done.stderr


def test_a_paused_process(tmp_path: Path) -> None:
    """A laptop that slept, or a container that was frozen, did not stand still."""
    with Process(loop("pass"), tmp_path) as process:
        process.wait_for("up")
        process.send(signal.SIGSTOP)
        time.sleep(4)  # longer than the loop may be silent for
        process.send(signal.SIGCONT)
        assert process.wait() == 0, process.output
        assert "well" in process.output


BEATS = """
import sys, time
from pathlib import Path
from pipeline.liveness import Liveness
one = Liveness(Path(sys.argv[1]))
one.start()
print("up", flush=True)
sys.stdin.read()
one.close()
"""


def test_the_heartbeat_file(tmp_path: Path) -> None:
    """Is young while the process looks, ages while it cannot, and is gone when it ends well: what
    the probes of deploy/helm ask."""
    path = tmp_path / "here" / "heartbeat"
    path.parent.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", BEATS, str(path)], stdin=subprocess.PIPE, env=environment()
    )
    try:
        eventually(path.exists, "the file")
        os.utime(path, (1, 1))
        eventually(lambda: path.stat().st_mtime > 1, "a look")
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: psutil.Process(process.pid).status() == "stopped", "it is stopped")
        os.utime(path, (1, 1))
        time.sleep(3 * liveness.LOOK_S)
        assert path.stat().st_mtime == 1
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=PATIENCE_S)
        assert not path.exists()
    finally:
        process.kill()
        process.wait()


def test_a_heartbeat_file_from_before(tmp_path: Path) -> None:
    """Is removed; one that something else stands in, or that cannot be written, is an error that
    names the setting."""
    path = tmp_path / "new" / "heartbeat"
    liveness.forget(path)
    assert path.parent.is_dir()
    path.touch()
    liveness.forget(path)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="something else is in this file"):
        liveness.forget(path)
    assert path.read_text() == "mine"
    with pytest.raises(ConfigurationError, match=r"DAMOSCOPE_HEARTBEAT_FILE=.*cannot be written"):
        liveness.forget(path / "below")
