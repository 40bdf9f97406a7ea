"""What the harness starts, it stops."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.throughput import process
from benchmarks.throughput.process import NotStarted, Program, Tree

#: Starts a child in a session of its own, which outlives its parent, and says its process id.
LEAVES_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=True)
open("child", "w").write(str(child.pid))
{then}
"""


def program(then: str) -> Program:
    return Program("leaves", [sys.executable, "-c", LEAVES_A_CHILD.format(then=then)])


def test_nothing_outlives_its_tree(tmp_path: Path) -> None:
    """A server's helper in a session of its own is found, measured and ended with it."""
    with Tree([program("time.sleep(600)")], tmp_path) as tree:
        tree.wait_until((tmp_path / "child").exists)
        tree.wait_until(lambda: bool((tmp_path / "child").read_text()))
        child = psutil.Process(int((tmp_path / "child").read_text()))
        assert child in tree.processes()
        assert tree.cpu_s() > 0
        assert tree.pss_bytes() > 0
    assert not child.is_running()
    assert tree.processes() == []


def test_a_server_that_ends_at_start_is_said_with_its_last_words(tmp_path: Path) -> None:
    """And what it had started is ended, too."""
    with (
        pytest.raises(NotStarted, match="no such model"),
        Tree([program("sys.exit('no such model')")], tmp_path) as tree,
    ):
        tree.wait_until(lambda: False)
    assert not psutil.pid_exists(int((tmp_path / "child").read_text()))


def test_a_server_has_settled_when_it_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server does after it answers, starting other parts, is waited for, but not for ever.

    What it uses is made up: on a busy machine one that starts may get as little as one that rests.
    """
    monkeypatch.setattr(process, "REST_S", 0.01)
    tree = Tree([], tmp_path)
    used_s = [0.0, 0.01, 0.01, 0.02, 0.02, 0.0205]
    monkeypatch.setattr(tree, "cpu_s", lambda: used_s.pop(0))
    tree.settle()
    assert used_s == []

    asked = itertools.count()
    monkeypatch.setattr(process, "SETTLE_S", 0.1)
    monkeypatch.setattr(tree, "cpu_s", lambda: float(next(asked)))
    tree.settle()
    assert next(asked) >= 2
