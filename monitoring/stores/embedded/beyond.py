"""What came beyond the store's limits: counted, and said in the log once a minute at most."""

from __future__ import annotations

import logging
import time
from collections import Counter

logger = logging.getLogger(__name__)

#: Trouble that lasts is logged this often.
LOG_EVERY_S = 60.0


class Beyond:
    """Counts by what it was; belongs to the thread that writes."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._logged_at: dict[str, float] = {}

    def add(self, what: str, count: int) -> None:
        """Count what was not stored."""
        if not count:
            return
        self.counts[what] += count
        now = time.monotonic()
        if now - self._logged_at.get(what, float("-inf")) >= LOG_EVERY_S:
            self._logged_at[what] = now
            logger.warning(
                "telemetry beyond the limits was not stored: %d %s so far; a sender is broken, "
                "or means harm",
                self.counts[what],
                what,
            )
