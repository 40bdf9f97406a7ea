"""The limits of a container are what a process may use, by the files of its control group."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import machine
from pipeline.settings import Settings

HOST = 8


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The control groups of a host with eight processors, of which this process is in the root."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(HOST)))
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "own").write_text("0::/\n")
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", HOST), ("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1),
        ("1600000 100000", HOST), ("nonsense", HOST), ("1 0", HOST), ("", HOST),
    ],
)  # fmt: skip
def test_a_quota_of_processors(groups: Path, quota: str, cpus: int) -> None:
    """Rounded up, at most what the process may run on, at least one; what is none limits nothing.
    Workers, and the threads of each, follow from it."""
    (groups / "cpu.max").write_text(quota + "\n")
    assert machine.cpus() == cpus
    assert Settings().workers == cpus
    assert Settings().inference_threads == 1
    assert Settings(workers=1).inference_threads == cpus


def test_without_control_groups(groups: Path) -> None:
    """The processors that it may run on."""
    (groups.parent / "own").unlink()
    assert (machine.cpus(), machine.memory()) == (HOST, None)


def test_the_tightest_of_nested_groups(groups: Path) -> None:
    """Without a namespace of its own a container is further inside; each group above limits it."""
    (groups.parent / "own").write_text("9:memory:/old\n0::/system.slice/docker-1.scope\n")
    inner = groups / "system.slice" / "docker-1.scope"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("400000 100000")
    (groups / "system.slice" / "cpu.max").write_text("300000 100000")
    assert machine.cpus() == 3
    (inner / "memory.max").write_text("max")
    (groups / "system.slice" / "memory.max").write_text("1000")
    (groups / "system.slice" / "memory.current").write_text("800")
    assert machine.memory() == machine.MemoryLimit(1000, 800, 0)


def test_a_group_outside_of_the_namespace(groups: Path) -> None:
    """What cannot be seen is not looked for elsewhere: the root of what can is its own."""
    (groups.parent / "own").write_text("0::/../../etc\n")
    (groups / "cpu.max").write_text("100000 100000")
    assert machine.cpus() == 1


def test_a_limit_of_memory(groups: Path) -> None:
    """What is used is without pages of files, which would be dropped before anything is ended."""
    (groups / "memory.max").write_text("max\n")
    (groups / "memory.current").write_text("500\n")
    assert machine.memory() is None
    (groups / "memory.max").write_text("1000\n")
    assert machine.memory() == machine.MemoryLimit(limit=1000, used=500, cached=0)
    (groups / "memory.stat").write_text("anon 300\nactive_file 50\ninactive_file 150\n")
    assert machine.memory() == machine.MemoryLimit(limit=1000, used=300, cached=200)
