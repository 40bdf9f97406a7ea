"""Connections to Redis, sync for workers and async for the frontend."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

#: Seconds to establish a connection before Redis counts as away.
CONNECT_TIMEOUT_S = 5
#: Seconds a reply may take; longer than any blocking wait of ours.
REPLY_TIMEOUT_S = 15
#: Connections of one frontend's event loop at most. A command takes one for well under a
#: millisecond; without a bound each request in flight could have its own, and take the files that
#: the process may open.
FRONTEND_CONNECTIONS = 64
_OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": REPLY_TIMEOUT_S,
    "health_check_interval": 30,
}


def redis_url(settings: Settings) -> str:
    """The address of Redis. Raises ConfigurationError when none is set."""
    if settings.redis_url is None:
        raise ConfigurationError(
            "REDIS_URL is not set; set it (redis://HOST:PORT/0), or use `damoscope up`, which "
            "starts a Redis of its own"
        )
    return settings.redis_url


def connect(settings: Settings) -> Redis:
    """A connection pool for a worker; nothing is sent yet."""
    try:
        return Redis.from_url(redis_url(settings), **_OPTIONS)
    except ValueError as error:
        raise ConfigurationError(f"REDIS_URL: {error}") from error


def connect_async(settings: Settings) -> AsyncRedis:
    """A connection pool for the frontend's event loop; nothing is sent yet."""
    try:
        pool = BlockingConnectionPool.from_url(
            redis_url(settings),
            max_connections=FRONTEND_CONNECTIONS,
            timeout=REPLY_TIMEOUT_S,
            **_OPTIONS,
        )
        return AsyncRedis.from_pool(pool)
    except ValueError as error:
        raise ConfigurationError(f"REDIS_URL: {error}") from error
