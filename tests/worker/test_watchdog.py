"""worker.watchdog: a process that no longer moves says where it stands, and ends."""

from __future__ import annotations

import subprocess
import sys

from tests.paths import ROOT

#: Stands for a worker whose batch takes as long as the command says; limits are short.
WORKER = """
import sys, time
from types import SimpleNamespace
from worker import watchdog

watchdog.STAGES, watchdog.GRACE_S = 1, 4.0
dog = watchdog.Watchdog(SimpleNamespace(stage_limit_s=1.0, stop_overdue=lambda: None))
dog.start()

def at_work(seconds):
    dog.began_s = time.monotonic()
    time.sleep(seconds)
    dog.began_s = None

for seconds in map(float, sys.argv[1:]):
    at_work(seconds)
    time.sleep(0.5)
dog.close()
print("done")
"""


def run(*batches_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORKER, *map(str, batches_s)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_batch_without_end() -> None:
    """The process ends, and what it prints names the function that it stood in."""
    ended = run(600)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "in at_work" in ended.stderr
    assert "done" not in ended.stdout


def test_batches_that_end() -> None:
    """Many of them, together longer than the limit, and rest between them, end nothing."""
    ended = run(*[0.3] * 10)
    assert ended.returncode == 0, ended.stderr
    assert "done" in ended.stdout
