"""Ways to ask a server whether it is ready."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import urlopen

from redis import Redis
from redis.exceptions import RedisError

from pipeline.queue.pools import DEFAULT, Pool

#: Asked with the id of the process.
Check = Callable[[int], bool]

#: Seconds for one answer.
TIMEOUT_S = 1.0


def always(_: int) -> bool:
    """For what has no address: whoever needs it says whether it is ready."""
    return True


def http(url: str) -> Check:
    """Whether a GET of this address answers 200."""

    def ready(_: int) -> bool:
        try:
            with urlopen(url, timeout=TIMEOUT_S) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    return ready


def redis(url: str) -> Check:
    """Whether Redis takes us in and answers a PING (it refuses while it loads its data)."""

    def ready(_: int) -> bool:
        try:
            with Redis.from_url(
                url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S
            ) as client:
                return bool(client.ping())
        except RedisError:
            return False

    return ready


def worker(url: str, pool: Pool = DEFAULT) -> Check:
    """Whether a worker of this host has registered for a pool, which it does once its model is
    loaded."""

    def ready(pid: int) -> bool:
        ours = f":{socket.gethostname()}-{pid}-".encode()
        try:
            with Redis.from_url(
                url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S
            ) as client:
                names = client.sscan_iter(pool.workers_key, count=1000)
                return any(ours in name for name in names)
        except RedisError:
            return False

    return ready
