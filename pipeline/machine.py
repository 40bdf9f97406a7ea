"""What of this machine a process may use: a container's limits, and not what its host has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Where control groups (version 2) are mounted, and which one this process is in.
CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class MemoryLimit:
    """Of the control group with the tightest limit, in bytes."""

    limit: int
    #: Without pages of files, which are dropped when others need the room.
    used: int
    #: Those pages.
    cached: int


def cpus() -> int:
    """Processors that this process may keep busy: those that it may run on, or its control group's
    quota where that is less, rounded up. At least 1."""
    allowed = len(os.sched_getaffinity(0))
    quotas = (_quota(folder / "cpu.max") for folder in _groups())
    return max(1, math.ceil(min([float(allowed), *(quota for quota in quotas if quota)])))


def memory() -> MemoryLimit | None:
    """The memory that all processes of this control group may take together; None without a limit
    of its own."""
    found: MemoryLimit | None = None
    for folder in _groups():
        limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
        if limit and used is not None and (found is None or limit < found.limit):
            cached = min(used, _file_pages(folder / "memory.stat"))
            found = MemoryLimit(limit, used - cached, cached)
    return found


def _groups() -> Iterator[Path]:
    """Folders of the control groups that this process is in, the innermost first. In a container
    the outermost may be its own."""
    try:
        lines = OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        if line.startswith("0::/"):
            inner = CGROUPS / line.removeprefix("0::/")
            # What lies outside of a namespace is named by "..", and cannot be read here.
            if ".." in inner.parts:
                inner = CGROUPS
            yield inner
            yield from (folder for folder in inner.parents if folder.is_relative_to(CGROUPS))


def _quota(path: Path) -> float | None:
    """Processors; None where it is `max`."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _number(path: Path) -> int | None:
    """Bytes; None where it is `max`."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _file_pages(path: Path) -> int:
    try:
        fields = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
        return int(fields["inactive_file"]) + int(fields["active_file"])
    except (OSError, ValueError, KeyError):
        return 0
