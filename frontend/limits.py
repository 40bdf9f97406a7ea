"""The rate limit per client, counted in Redis so that all frontends share it."""

from __future__ import annotations

from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from pipeline.errors import RateLimited
from pipeline.settings import Settings


class Limiter:
    """Refuses clients that send faster than `DAMOSCOPE_RATE_LIMIT` allows; unset, nobody."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._rate = settings.rate_limit
        if not self._rate:
            return
        self._item = parse(self._rate)
        # With the pool, of the address only the scheme counts: it gets to see no password.
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]  # it is passed on
        )
        self._strategy = SlidingWindowCounterRateLimiter(storage)

    async def check(self, client: str, what: str = "detect") -> None:
        """Count one request of this client; each kind of request has the whole rate for itself.
        Raises RateLimited."""
        if self._rate and not await self._strategy.hit(self._item, what, client):
            raise RateLimited(f"this client sends more than {self._rate}")
