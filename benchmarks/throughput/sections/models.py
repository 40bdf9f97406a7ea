"""The bundled model against the stock one: inference alone, one thread each."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.throughput.bare import Loops
from benchmarks.throughput.figures import median, spread, table
from benchmarks.throughput.options import Options
from pipeline.settings import load
from worker.model.session import Detector

TITLE = "Bundled model against stock"
TITLES = {
    "stock": "stock Ns (SiLU, 80 classes, 416)",
    "bundled": "bundled model (ReLU, 1 class, 320)",
}


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    return options.rounds * (4 * options.seconds / 2 + 1) + 10


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds of an inference, in turns; the ratio is of one round."""
    models = {"stock": options.stock, "bundled": options.bundled}
    detectors = {
        name: Detector(load(model=model, threads=1, workers=options.workers))
        for name, model in models.items()
    }
    figures: dict[str, Any] = {"provider": detectors["bundled"].provider, "ratio": []}
    figures |= {name: {"plain": [], "worker": []} for name in models}
    seconds = options.seconds / 2
    with ExitStack() as stack:
        loops = {
            name: stack.enter_context(Loops(model, options.picture, 1, infer=True))
            for name, model in models.items()
        }
        for _ in range(options.rounds):
            for name, loop in loops.items():
                figures[name]["plain"].append(loop.run(seconds).p50_ms)
                figures[name]["worker"].append(_worker_ms(detectors[name], seconds))
            figures["ratio"].append(
                figures["stock"]["plain"][-1] / figures["bundled"]["worker"][-1]
            )
            say(f"stock / bundled as shipped: {figures['ratio'][-1]:.2f}")
    return figures


def _worker_ms(detector: Detector, seconds: float) -> float:
    """Median of an inference as a worker runs it, uint8 picture in."""
    size = (detector.spec.height, detector.spec.width, 3)
    picture = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
    taken = []
    deadline = time.perf_counter() + seconds
    while (began := time.perf_counter()) < deadline:
        detector.run([picture])
        taken.append((time.perf_counter() - began) * 1e3)
    middle = median(taken)
    assert middle is not None
    return middle


def render(figures: dict[str, Any]) -> list[str]:
    """A table of milliseconds, and the ratio."""
    head = [
        "inference, one thread",
        "plain session, ms",
        f"as a worker runs it ({figures['provider']}), ms",
    ]
    rows = [
        [title, spread(figures[name]["plain"], 1), spread(figures[name]["worker"], 1)]
        for name, title in TITLES.items()
    ]
    lines = table(head, rows)
    return [*lines, "", f"Stock, plain / bundled as shipped: **{spread(figures['ratio'])}**."]
