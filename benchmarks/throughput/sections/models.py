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
from worker.inference import Detector

TITLE = "Bundled model against stock"


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    return options.rounds * (3 * options.seconds / 2 + 1) + 10


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds of an inference, in turns; the ratio is of one round."""
    figures: dict[str, Any] = {"stock": [], "bundled": [], "shipped": [], "ratio": []}
    detector = Detector(load(model=options.bundled, threads=1, workers=options.workers))
    figures["provider"] = detector.provider
    with ExitStack() as stack:
        loops = {
            name: stack.enter_context(Loops(model, options.picture, 1, infer=True))
            for name, model in (("stock", options.stock), ("bundled", options.bundled))
        }
        for _ in range(options.rounds):
            for name, loop in loops.items():
                figures[name].append(loop.run(options.seconds / 2).p50_ms)
            figures["shipped"].append(_shipped_ms(detector, options.seconds / 2))
            figures["ratio"].append(figures["stock"][-1] / figures["shipped"][-1])
            say(f"stock / bundled as shipped: {figures['ratio'][-1]:.2f}")
    return figures


def _shipped_ms(detector: Detector, seconds: float) -> float:
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
    rows = [
        ["stock Ns (SiLU, 80 classes, 416)", spread(figures["stock"], 1)],
        ["bundled model, plain session", spread(figures["bundled"], 1)],
        [f"bundled model as a worker runs it ({figures['provider']})",
         spread(figures["shipped"], 1)],
    ]  # fmt: skip
    lines = table(["inference, one thread", "ms"], rows)
    return [*lines, "", f"Stock / bundled as shipped: **{spread(figures['ratio'])}**."]
