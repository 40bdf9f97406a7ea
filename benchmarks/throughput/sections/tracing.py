"""Spans and metrics of every image, against none: two services that take turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.throughput.figures import ratio, spread, table
from benchmarks.throughput.measure import running
from benchmarks.throughput.options import Options
from benchmarks.throughput.servers import OURS

TITLE = "Tracing on and off"
CLIENTS = 8


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    return options.rounds * 3 * (options.seconds + 2) + 25


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Off, on, off in each round; the two services are both up, and one is idle."""
    figures: dict[str, Any] = {"on": [], "off": [], "ratio": [], "on_cpu_ms": [], "off_cpu_ms": []}
    with ExitStack() as stack:
        off, on = (
            stack.enter_context(
                running(OURS, options.stock, options.picture, options.workers, **settings)
            )
            for settings in ({"OTEL_SDK_DISABLED": "true"}, {})
        )
        for server in (off, on):
            server.measure(CLIENTS, 1.0)
        for _ in range(options.rounds):
            first, traced, last = (
                server.measure(CLIENTS, options.seconds) for server in (off, on, off)
            )
            figures["off"] += [first.images_per_s, last.images_per_s]
            figures["on"].append(traced.images_per_s)
            figures["ratio"].append(
                ratio(traced.images_per_s, first.images_per_s, last.images_per_s)
            )
            figures["on_cpu_ms"].append(traced.cpu_ms_per_image)
            figures["off_cpu_ms"] += [first.cpu_ms_per_image, last.cpu_ms_per_image]
            say(f"on / off: {figures['ratio'][-1]:.3f}")
    return figures


def render(figures: dict[str, Any]) -> list[str]:
    """A table of rates, and their ratio."""
    rows = [
        [name, spread(figures[key], 1), spread(figures[f"{key}_cpu_ms"], 1)]
        for name, key in (("everything on, every image traced", "on"),
                          ("`OTEL_SDK_DISABLED=true`", "off"))
    ]  # fmt: skip
    head = [f"stock model, {CLIENTS} clients", "images/s", "CPU ms an image"]
    return [*table(head, rows), "", f"On / off: **{spread(figures['ratio'], 3)}**."]
