"""What the versions of models have done lately, as the Model page and `/api/v1/models` tell it."""

from __future__ import annotations

import threading
import time
from typing import Final

from monitoring.figures.by_model import VersionFigures, by_model
from monitoring.stores.contract import MetricsStore
from pipeline.errors import Unavailable

#: The time that is told of, and how exactly first and last images are placed in it, in seconds.
HISTORY_S: Final = 7 * 86400.0
STEP_S: Final = 600.0
#: So long what was read is told again: it takes a third of a second of three versions that find 80
#: classes, and pages ask every second while workers are being switched.
FRESH_S: Final = 15.0


class ModelHistory:
    """Reads from the store for all who ask."""

    def __init__(self, metrics: MetricsStore) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._read_s = float("-inf")
        self._figures: list[VersionFigures] | None = None

    def figures(self) -> list[VersionFigures] | None:
        """Of each version that had images, the one that came last first; None while they cannot be
        read. Blocks."""
        with self._lock:
            if time.monotonic() - self._read_s >= FRESH_S:
                try:
                    window = self._metrics.window(HISTORY_S, time.time(), STEP_S)
                    self._figures = by_model(self._metrics, window, STEP_S)
                except Unavailable:  # as Monitor says
                    self._figures = None
                self._read_s = time.monotonic()
            return self._figures
