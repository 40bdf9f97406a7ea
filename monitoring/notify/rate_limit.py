"""How much a channel gets: `notify_rate` messages, counted in Redis for all watchers.

Critical alerts (firing and resolved), reports and tests always pass. What else is over the rate
is held back, and summed up in one message as soon as the rate allows one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time

from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import Redis
from redis.exceptions import RedisError

from monitoring.messages import Message
from monitoring.notify import message
from monitoring.notify.notice import Notice
from monitoring.notify.queue import EXPIRES_S, enqueue_summary

log = logging.getLogger("damoscope.watcher")


class Limit:
    """The rate of one channel, and what it holds back."""

    def __init__(self, redis: Redis, rate: str, index: int, kind: str) -> None:
        self._redis, self._rate, self._index, self._kind = redis, rate, index, kind
        self._item: RateLimitItem = parse(rate)
        # With the pool, of the address only the scheme counts.
        storage = RedisStorage(
            "redis://", connection_pool=redis.connection_pool, key_prefix="damoscope:notify"
        )
        self._strategy = SlidingWindowCounterRateLimiter(storage)
        self._key = f"damoscope:notify:held-back:{index}"

    def allows(self, notice: Notice) -> bool:
        """Whether this notice may be sent now."""
        if notice.kind in ("report", "test") or notice.severity == "critical":
            return True
        return self._strategy.test(self._item, str(self._index), self._kind)

    def count(self) -> None:
        """One more was sent. Redis being away now must not send it again."""
        with contextlib.suppress(RedisError):
            self._strategy.hit(self._item, str(self._index), self._kind)

    def hold_back(self, notice: Notice) -> None:
        """Keep its title for the summary, which is due when the rate allows a message again."""
        entry = {"at": time.time(), "title": notice.title.model_dump()}
        with self._redis.pipeline() as pipe:
            pipe.rpush(self._key, json.dumps(entry))
            pipe.expire(self._key, 2 * EXPIRES_S)
            pipe.execute()
        reset_at = self._strategy.get_window_stats(
            self._item, str(self._index), self._kind
        ).reset_time
        if enqueue_summary(self._redis, self._index, self._kind, max(reset_at, time.time() + 1)):
            log.warning(
                "%s (channel %d) had its %s: what follows is held back and summed up",
                self._kind, self._index + 1, self._rate,
            )  # fmt: skip

    def summary(self) -> tuple[Notice | None, int]:
        """What is held back as one notice, and how much that is; None when it is nothing."""
        entries = [json.loads(entry) for entry in self._redis.lrange(self._key, 0, -1)]
        held = [(float(entry["at"]), Message(**entry["title"])) for entry in entries]
        return (message.held_back(held, self._rate) if held else None), len(held)

    def forget(self, count: int) -> None:
        """The oldest `count` of what was held back were summed up and sent."""
        with contextlib.suppress(RedisError):
            self._redis.ltrim(self._key, count, -1)
