"""Which commands a setting changes something for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Process = Literal["up", "frontend", "worker", "watcher", "model"]


@dataclass(frozen=True)
class ReadBy:
    """The commands that a setting changes something for."""

    processes: tuple[Process, ...]


UP, FRONTEND, WORKER, WATCHER = (
    ReadBy(("up",)),
    ReadBy(("frontend",)),
    ReadBy(("worker",)),
    ReadBy(("watcher",)),
)
#: Those that read telemetry.
READERS = ReadBy(("frontend", "watcher"))
UP_AND_FRONTEND = ReadBy(("up", "frontend"))
UP_AND_READERS = ReadBy(("up", "frontend", "watcher"))
WORKER_AND_WATCHER = ReadBy(("worker", "watcher"))
UP_AND_WORKER, FRONTEND_AND_WORKER = ReadBy(("up", "worker")), ReadBy(("frontend", "worker"))
MODEL_COMMAND = ReadBy(("model",))
EVERY = ReadBy(("up", "frontend", "worker", "watcher"))
