"""One image at a time on an idle system, against the bare loop with all cores on that image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.throughput.bare import Loops
from benchmarks.throughput.figures import spread, table
from benchmarks.throughput.measure import running
from benchmarks.throughput.options import Options
from benchmarks.throughput.servers import OURS

TITLE = "One image at a time"
#: Seconds between an answer and the next image.
PAUSE_S = 0.1


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    return options.rounds * (4 * options.seconds + 3) + 15


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Medians of each round, in milliseconds."""
    figures: dict[str, Any] = {
        "cores": options.workers, "bare_ms": [], "one_thread_ms": [], "ours_ms": [],
        "ours_p99_ms": [], "more_ms": [],
    }  # fmt: skip
    with ExitStack() as stack:
        wide, narrow = (
            stack.enter_context(Loops(options.stock, options.picture, 1, threads))
            for threads in (options.workers, 1)
        )
        server = stack.enter_context(running(OURS, options.stock, options.picture, options.workers))
        for _ in range(options.rounds):
            before = wide.run(options.seconds, PAUSE_S).p50_ms
            found = server.measure(1, options.seconds, pause_s=PAUSE_S)
            after = wide.run(options.seconds, PAUSE_S).p50_ms
            figures["one_thread_ms"].append(narrow.run(options.seconds, PAUSE_S).p50_ms)
            figures["bare_ms"] += [before, after]
            figures["ours_ms"].append(found.latency_ms(50))
            figures["ours_p99_ms"].append(found.latency_ms(99))
            figures["more_ms"].append(found.latency_ms(50) - (before + after) / 2)
            say(f"bare {before:.1f} and {after:.1f} ms, ours {found.latency_ms(50):.1f} ms")
    return figures


def render(figures: dict[str, Any]) -> list[str]:
    """A table of milliseconds."""
    rows = [
        [f"bare loop, {figures['cores']} threads on the image", spread(figures["bare_ms"], 1)],
        ["bare loop, one thread", spread(figures["one_thread_ms"], 1)],
        ["damoscope over HTTP, p50", spread(figures["ours_ms"], 1)],
        ["damoscope over HTTP, p99", spread(figures["ours_p99_ms"], 1)],
        ["**damoscope more than the bare loop with all threads**", spread(figures["more_ms"], 1)],
    ]
    return table(["stock model, a pause of 0.1 s between images", "ms an image"], rows)
