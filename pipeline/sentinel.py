"""Redis behind Sentinels: who is the master now is asked of them whenever a connection is made.

The address is `redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT] ...]/SERVICE[/DB]`, as
other clients of Redis have it; `rediss+sentinel` speaks TLS, to the Sentinels too. What stands in
front of the hosts is Redis' user; the Sentinels' own, if they have one, are `sentinel_username` and
`sentinel_password` among the options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.asyncio.sentinel import SentinelManagedConnection as AsyncManagedConnection
from redis.asyncio.sentinel import SentinelManagedSSLConnection as AsyncManagedSSLConnection
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from pipeline.errors import ConfigurationError

SCHEMES = ("redis+sentinel://", "rediss+sentinel://")
#: Where Sentinels listen unless something else is said.
PORT = 26379
#: Seconds for one Sentinel to answer: then the next is asked.
TIMEOUT_S = 1.0
#: Sentinels of one service; there are three or five.
HOSTS_MAX = 32
_WRITE = "write it like redis+sentinel://USER:PASSWORD@HOST:26379,HOST:26379/SERVICE/0"


@dataclass(frozen=True)
class Address:
    """What an address with Sentinels says."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    #: Options of connections to Redis, and to the Sentinels.
    options: dict[str, Any]
    sentinel_options: dict[str, Any]


def read(url: str) -> Address:
    """Take an address apart. Raises ConfigurationError, which repeats nothing of it."""
    scheme, _, rest = url.partition("+sentinel://")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        user, _, hosts = parts.netloc.rpartition("@")
        named = tuple(_host(each) for each in hosts.split(","))
        service, _, db = parts.path.strip("/").partition("/")
        before = f"{user}@" if user else ""
        # Of redis-py, so that options mean the same as in the other addresses.
        options = dict(
            parse_url(f"{scheme}://{before}host/{db or 0}?{parts.query}")  # type: ignore[no-untyped-call]
        )
        number = int(db or 0)
    except ValueError:
        raise ConfigurationError(f"REDIS_URL: its Sentinels cannot be read; {_WRITE}") from None
    if not service or number < 0 or len(named) > HOSTS_MAX:
        raise ConfigurationError(f"REDIS_URL: it names no service of its Sentinels; {_WRITE}")
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    encrypted = {"ssl": True} if scheme == "rediss" else {}
    theirs = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")} | {
        name: value for name, value in options.items() if name.startswith("ssl_")
    }
    return Address(
        named, unquote(service), options | encrypted | {"db": number}, theirs | encrypted
    )  # fmt: skip


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or "@" in text:
        raise ValueError("no host")
    return parts.hostname, parts.port or PORT


def connect(url: str, **options: Any) -> Redis:
    """A client of the master, for a process with threads; nothing is sent yet."""
    at = read(url)
    theirs = at.sentinel_options | _patience(Retry(NoBackoff(), 0))
    sentinels = Sentinel(at.hosts, sentinel_kwargs=theirs)  # type: ignore[no-untyped-call]
    client: Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
        at.service,
        connection_pool_class=_Pool,
        connection_class=_SSLConnection if at.options.get("ssl") else _Connection,
        **(options | at.options),
    )
    return client


def connect_async(url: str, **options: Any) -> AsyncRedis:
    """The same for an event loop; `max_connections` and `timeout` are those of its pool."""
    at = read(url)
    theirs = at.sentinel_options | _patience(AsyncRetry(NoBackoff(), 0))
    sentinels = AsyncSentinel(at.hosts, sentinel_kwargs=theirs)  # type: ignore[no-untyped-call]
    client: AsyncRedis = sentinels.master_for(
        at.service,
        connection_pool_class=_AsyncPool,
        connection_class=_AsyncSSLConnection if at.options.get("ssl") else _AsyncConnection,
        **(options | at.options),
    )
    return client


def _patience(retry: Any) -> dict[str, Any]:
    return {"socket_connect_timeout": TIMEOUT_S, "socket_timeout": TIMEOUT_S, "retry": retry}


class _Connection(SentinelManagedConnection):
    """A connection to the master, wherever that is by now.

    Where one was lost, redis-py sends the next command to where the master was (its issue 3874):
    to a host that is gone for good, until it gives up. The Sentinels are asked here as well.
    """

    def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if retry_socket_connect:  # it comes from a command, and not from `connect`
            self.connect()  # type: ignore[no-untyped-call]
        else:
            super().connect_check_health(check_health, retry_socket_connect)


class _SSLConnection(_Connection, SentinelManagedSSLConnection):
    """The same over TLS."""


class _AsyncConnection(AsyncManagedConnection):
    """The same for an event loop."""

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if retry_socket_connect:
            await self.connect()  # type: ignore[no-untyped-call]
        else:
            await super().connect_check_health(check_health, retry_socket_connect)


class _AsyncSSLConnection(_AsyncConnection, AsyncManagedSSLConnection):
    """The same over TLS."""


class _Pool(SentinelConnectionPool):
    """Connections to the master; with them those to the Sentinels end."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        for each in self.sentinel_manager.sentinels:
            each.close()


class _AsyncPool(AsyncSentinelPool, BlockingConnectionPool):
    """The same for an event loop. Who wants a connection more than there may be waits for one."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        for each in self.sentinel_manager.sentinels:
            await each.aclose()
