"""Resident memory of the service's processes while it answers many images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil

from benchmarks.throughput.figures import number, table
from benchmarks.throughput.measure import Running, running
from benchmarks.throughput.options import Options
from benchmarks.throughput.servers import OURS

TITLE = "Memory over many images"
PARTS = 10
CLIENTS = 8
#: Images a second that are assumed for the estimate.
RATE_PER_S = 45.0
NAMES = ("frontend", "worker", "watcher", "redis")


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    return options.images / RATE_PER_S + 15


def resident_mb(server: Running) -> dict[str, list[float]]:
    """Megabytes resident in each process, by what it is."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for process in server.tree.processes():
        try:
            command, resident = process.cmdline(), process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
        for name in NAMES:
            if command[-1:] == [name] or (name == "redis" and "redis-server" in " ".join(command)):
                found[name].append(resident)
    return found


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """The service as shipped; memory after each tenth of the images."""
    figures: dict[str, Any] = {"images": [], "resident_mb": []}
    path = "/api/v1/detect"
    server = type(OURS)(OURS.name, OURS.title, path, OURS.programs, OURS.says_ready)
    with running(server, options.bundled, options.picture, options.workers) as service:
        service.measure(CLIENTS, 2.0)
        sent = 0
        figures["images"].append(sent)
        figures["resident_mb"].append(resident_mb(service))
        for part in range(1, PARTS + 1):
            wanted = options.images * part // PARTS - sent
            found = service.measure(CLIENTS, 24 * 3600.0, warmup_s=0.0, images=max(1, wanted))
            sent += len(found.latencies_s)
            figures["images"].append(sent)
            figures["resident_mb"].append(resident_mb(service))
            shown = figures["resident_mb"][-1]
            say(f"{sent} images: " + ", ".join(_cell(name, shown) for name in NAMES))
    return figures


def _cell(name: str, resident: dict[str, list[float]]) -> str:
    values = resident.get(name) or []
    return f"{name} {' and '.join(number(value, 0) for value in values)} MB"


def render(figures: dict[str, Any]) -> list[str]:
    """Memory by images answered."""
    rows = [
        [f"{images:,}", *(", ".join(number(value, 0) for value in found[name]) for name in NAMES)]
        for images, found in zip(figures["images"], figures["resident_mb"], strict=True)
    ]
    head = ["images answered", "frontend MB", "each worker MB", "watcher MB", "Redis MB"]
    return table(head, rows)
