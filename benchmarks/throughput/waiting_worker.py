"""A worker whose model waits without using the CPU, as one waits for a GPU.

    python -m benchmarks.throughput.waiting_worker

The service's own worker in all but the inference, for which it sleeps BENCH_WAIT_MS. Where
BENCH_RUNS names a file, each inference adds one byte to it.
"""

from __future__ import annotations

import os
import time
from typing import Any

import worker.main
import worker.switching
from pipeline.settings import load
from worker.model.session import Detector


class WaitingSession:
    """Answers what the model answers, but later."""

    def __init__(self, session: Any, wait_s: float, runs: str | None) -> None:
        self._session = session
        self._wait_s = wait_s
        self._runs = os.open(runs, os.O_WRONLY | os.O_APPEND) if runs else None

    def run(self, *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        outputs = self._session.run(*arguments, **named)
        time.sleep(max(0.0, self._wait_s - (time.perf_counter() - began)))
        if self._runs is not None:
            os.write(self._runs, b".")
        return outputs


class WaitingDetector(Detector):
    """The detector with its sessions slowed down."""

    def __init__(self, *settings_and_model: Any) -> None:
        super().__init__(*settings_and_model)
        wait_s = float(os.environ["BENCH_WAIT_MS"]) / 1e3
        self._session = self._wide_session = WaitingSession(
            self._session, wait_s, os.environ.get("BENCH_RUNS")
        )


if __name__ == "__main__":
    import logging

    logging.basicConfig(level="INFO", format="%(name)s: %(message)s")
    # Where workers make theirs, whichever model is chosen.
    vars(worker.switching)["Detector"] = WaitingDetector
    worker.main.run(load())
