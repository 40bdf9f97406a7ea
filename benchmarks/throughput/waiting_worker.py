"""A worker whose model waits without using the CPU, as one waits for a GPU.

    python -m benchmarks.throughput.waiting_worker

The service's own worker in all but the inference, for which it sleeps BENCH_WAIT_MS.
"""

from __future__ import annotations

import os
import time
from typing import Any

import worker.main
from pipeline.settings import Settings, load
from worker.model.session import Detector


class WaitingSession:
    """Answers what the model answers, but later."""

    def __init__(self, session: Any, wait_s: float) -> None:
        self._session = session
        self._wait_s = wait_s

    def run(self, names: Any, feeds: Any) -> Any:
        began = time.perf_counter()
        outputs = self._session.run(names, feeds)
        time.sleep(max(0.0, self._wait_s - (time.perf_counter() - began)))
        return outputs


class WaitingDetector(Detector):
    """The detector with its sessions slowed down."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        wait_s = float(os.environ["BENCH_WAIT_MS"]) / 1e3
        self._session = self._wide_session = WaitingSession(self._session, wait_s)


if __name__ == "__main__":
    import logging

    logging.basicConfig(level="INFO", format="%(name)s: %(message)s")
    vars(worker.main)["Detector"] = WaitingDetector
    worker.main.run(load())
