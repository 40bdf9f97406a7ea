"""What is wrong with Redis is said in one line a minute for each cause, whoever notices it."""

from __future__ import annotations

import logging
import time

from redis.exceptions import RedisError

from pipeline.connection import explain

#: Seconds between two lines about the same cause.
COMPLAIN_S = 60.0
#: Causes that are remembered. There are about a dozen; texts from elsewhere must not add up.
CAUSES_MAX = 256


class Complaints:
    """Tells whether a cause may be named: it was not within the last minute."""

    def __init__(self) -> None:
        self._said_s: dict[str, float] = {}

    def due(self, cause: str) -> bool:
        """Whether to say so now. Any thread may ask."""
        now_s = time.monotonic()
        if now_s - self._said_s.get(cause, -COMPLAIN_S) < COMPLAIN_S:
            return False
        if len(self._said_s) >= CAUSES_MAX:
            self._said_s.clear()
        self._said_s[cause] = now_s
        return True

    def of_redis(
        self, log: logging.Logger, error: RedisError | OSError, doing: str = "", then: str = ""
    ) -> None:
        """Say what Redis refuses or that it is away, and, where that is known, what it was asked
        for and what happens `then`."""
        if self.due(explain(error)):
            about, after = f"{doing}: " if doing else "", f"; {then}" if then else ""
            log.warning("%s%s (%s)%s", about, explain(error), error, after)


#: Those of this process.
complaints = Complaints()
