"""Memory and open files of a service's processes, over time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.soak.kills import roles


@dataclass
class Usage:
    """Readings, one for each role and moment. A role's processes are added up."""

    processes: Callable[[], list[psutil.Process]]
    every_s: float
    #: Seconds from the start.
    at_s: list[float] = field(default_factory=list)
    #: By role: bytes (proportional set size: pages that are shared count once) and open files.
    #: None at moments at which a process of the role could not be read, or was not there.
    memory: dict[str, list[int | None]] = field(default_factory=dict)
    handles: dict[str, list[int | None]] = field(default_factory=dict)

    def run(self, stop: threading.Event) -> None:
        """Read until `stop` is set, and once more; it belongs into a thread of its own."""
        began = time.monotonic()
        while True:
            stopped = stop.is_set()
            self._read(time.monotonic() - began)
            if stopped:
                return
            stop.wait(self.every_s)

    def _read(self, at_s: float) -> None:
        self.at_s.append(round(at_s, 1))
        for role, processes in roles(self.processes()).items():
            memory: int | None = None
            handles: int | None = None
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if processes:
                    total = sum(int(each.memory_full_info().pss) for each in processes)
                    handles = sum(each.num_fds() for each in processes)
                    memory = total
            self.memory.setdefault(role, []).append(memory)
            self.handles.setdefault(role, []).append(handles)

    def between(self, from_s: float) -> dict[str, dict[str, tuple[int, int, int]]]:
        """Of each role: first, last and highest reading from a moment on."""
        found: dict[str, dict[str, tuple[int, int, int]]] = {}
        for what, by_role in (("memory", self.memory), ("handles", self.handles)):
            for role, values in by_role.items():
                kept = [
                    value
                    for at, value in zip(self.at_s, values, strict=True)
                    if value is not None and at >= from_s
                ]
                if kept:
                    found.setdefault(role, {})[what] = (kept[0], kept[-1], max(kept))
        return found

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {"at_s": self.at_s, "memory_bytes": self.memory, "open_files": self.handles}
