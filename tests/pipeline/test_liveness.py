"""A process that stands still says where, and ends; one that was paused goes on."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from pipeline.liveness import STALLED_EXIT_CODE
from tests.servers import Process, run

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
