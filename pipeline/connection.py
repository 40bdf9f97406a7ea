"""Connections to Redis, sync for workers and async for the frontend, and what is said of it.

The address of Redis is a secret: it may hold a password. Neither it nor a text of Redis' own, which
may repeat commands and keys, gets to a client. Log lines have such texts, without the password
(telemetry.logs).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr
from redis import Redis
from redis import exceptions as refusals
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.sentinel import MasterNotFoundError as AsyncMasterNotFoundError
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from pipeline import sentinel
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

#: Seconds to establish a connection before Redis counts as away.
CONNECT_TIMEOUT_S = 5
#: Seconds a reply may take; longer than any blocking wait of ours.
REPLY_TIMEOUT_S = 15
#: Further tries of a command, on a new connection. No more: while Redis hangs each waits for its
#: reply, and loops that stand still for long end their process (pipeline.liveness).
RETRIES = 2
#: Connections of one frontend's event loop at most. A command takes one for well under a
#: millisecond; without a bound each request in flight could have its own, and take the files that
#: the process may open.
FRONTEND_CONNECTIONS = 64
_OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": REPLY_TIMEOUT_S,
    "health_check_interval": 30,
}
_HOW = (
    "write it like redis://USER:PASSWORD@HOST:PORT/0, with %2F for /, %3F for ?, %23 for #, %40 "
    "for @ and %25 for % in a password (docs/redis.md)"
)

#: Where `damoscope up` puts its Redis, below the data folder.
OWN_SOCKET = Path("redis") / "redis.sock"

#: Pieces of a password that are shorter are words like any other.
PIECE_MIN = 6

C = TypeVar("C")

#: The first that fits. Sentences of ours, which clients may read.
_SENTENCES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (refusals.AuthenticationError, refusals.AuthorizationError),
        "Redis refuses our user or password",
    ),
    ((refusals.NoPermissionError,), "Redis does not let our user do this"),
    ((refusals.OutOfMemoryError,), "Redis is full"),
    ((refusals.ReadOnlyError,), "Redis takes no writes: it is a replica"),
    ((refusals.MasterDownError,), "Redis is a replica that has lost its primary"),
    ((refusals.BusyLoadingError,), "Redis is loading its data"),
    ((refusals.ConnectionError, refusals.TimeoutError, OSError), "Redis does not answer"),
)

#: Refusals that redis-py has no class for, or that a script of Redis 6.2 wraps into a text.
_CODES: dict[str, type[BaseException] | str] = {
    "NOREPLICAS": "Redis has too few replicas to take writes",
    "MISCONF": "Redis cannot write to its disk",
    "BUSY": "Redis is busy with a script",
    "MASTERDOWN": refusals.MasterDownError,
    "OOM": refusals.OutOfMemoryError,
    "READONLY": refusals.ReadOnlyError,
    "UNBLOCKED": refusals.ReadOnlyError,  # it became a replica under a command that waited
    "NOPERM": refusals.NoPermissionError,
    "ACL failure in script": refusals.NoPermissionError,
    "LOADING": refusals.BusyLoadingError,
}
#: At the beginning, or where a script says what one of its commands was told.
_CODE = re.compile(rf"(?:^|-|: |ERR )({'|'.join(_CODES)})\b")


def passing(error: BaseException) -> bool:
    """Whether Redis is away, or refuses what it may do again in a while: as it is now, not for what
    was asked of it."""
    kinds = (kind for kinds, _ in _SENTENCES for kind in kinds)
    return isinstance(error, tuple(kinds)) or _CODE.search(str(error)) is not None


def explain(error: BaseException) -> str:
    """What is the matter with Redis, in words of ours."""
    text = str(error)
    if isinstance(error, MasterNotFoundError | AsyncMasterNotFoundError):
        # Why each Sentinel did not say stands behind the colon; none stands there where all did.
        if " : " not in text:
            return "the Sentinels know no master of this service"
        refused = "AuthenticationError" in text
        return "the Sentinels refuse our user or password" if refused else "no Sentinel answers"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "Redis' certificate is not trusted"
    if "No space left on device" in text:
        return "the disk of Redis is full"
    if text.startswith(("NOAUTH", "WRONGPASS", "HELLO must be called")):
        error = refusals.AuthenticationError()
    for kinds, sentence in _SENTENCES:
        if isinstance(error, kinds):
            return sentence
    if isinstance(error, refusals.ResponseError) and (code := _CODE.search(text)):
        found = _CODES[code[1]]
        return found if isinstance(found, str) else explain(found(""))
    return "Redis refuses a command"


def redis_url(settings: Settings) -> str:
    """The address of Redis. Raises ConfigurationError when none is set, or it cannot be read."""
    if settings.redis_url is None:
        raise ConfigurationError(
            "REDIS_URL is not set; set it (redis://HOST:PORT/0), or use `damoscope up`, which "
            "starts a Redis of its own"
        )
    url = settings.redis_url.get_secret_value()
    check_url(url)
    return url


def with_redis(settings: Settings) -> Settings | None:
    """The settings for a command beside a running service: where they name no Redis, with that of
    `damoscope up` in the data folder. None when neither is there."""
    if settings.redis_url is not None:
        return settings
    socket = settings.home.resolve() / OWN_SOCKET
    if not socket.exists():
        return None
    return settings.model_copy(update={"redis_url": SecretStr(f"unix://{socket}")})


def check_url(url: str) -> None:
    """Raises ConfigurationError, which repeats nothing of it, for an address that is none."""
    if url.startswith(sentinel.SCHEMES):
        sentinel.read(url)
        return
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigurationError(
            "REDIS_URL: it begins with none of redis, rediss, unix, redis+sentinel, "
            f"rediss+sentinel; {_HOW}"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigurationError(f"REDIS_URL: its port is no number; {_HOW}") from None
    # A password with a `/` would end the place where the server is: the rest, and with it the
    # server, would be lost, and a part of the password be taken for a port.
    if "@" not in parts.netloc and "@" in url and not url.startswith("unix://"):
        raise ConfigurationError(f"REDIS_URL: an @ stands behind a /, ? or #; {_HOW}")


def secrets(url: str) -> set[str]:
    """The parts of an address of Redis that nobody may read, as written and decoded."""
    scheme, found, rest = url.partition("://")
    rest = rest if found else url
    # Wider than the rules for addresses: those of a mistaken one count as well. A user's name is no
    # secret, unless it stands where a password should.
    user, found, _ = rest.rpartition("@")
    parts = {user.partition(":")[2] or user} if found and scheme != "unix" else set()
    query = rest.partition("?")[2]
    for name in ("password", "ssl_password", "sentinel_password"):
        parts.update(parse_qs(query).get(name, ()))
        parts.update(
            piece[len(name) + 1 :] for piece in query.split("&") if piece.startswith(f"{name}=")
        )
    parts |= {unquote(part) for part in parts}
    # What takes a mistaken address apart may say a piece of it.
    pieces = {piece for part in parts for piece in re.split(r"[:/?#@&=%\[\]]", part)}
    return {part for part in parts if len(part) > 1} | {
        piece for piece in pieces if len(piece) >= PIECE_MIN
    }


def connect(settings: Settings, *, retries: int = RETRIES) -> Redis:
    """A connection pool for a worker or the watcher; nothing is sent yet.

    Where something accepts connections and says nothing, a command may wait for `REPLY_TIMEOUT_S`
    as often as `(1 + retries) ** 2`: redis-py tries to connect so often in each try of a command.
    """
    url = redis_url(settings)
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries)
    from_url = sentinel.connect if url.startswith(sentinel.SCHEMES) else Redis.from_url
    return _opened(from_url, url, retry=retry)


def connect_async(settings: Settings) -> AsyncRedis:
    """A connection pool for the frontend's event loop; nothing is sent yet."""
    url = redis_url(settings)
    bounds = {"max_connections": FRONTEND_CONNECTIONS, "timeout": REPLY_TIMEOUT_S}
    if url.startswith(sentinel.SCHEMES):
        return _opened(sentinel.connect_async, url, **bounds)
    return AsyncRedis.from_pool(_opened(BlockingConnectionPool.from_url, url, **bounds))


def _opened(from_url: Callable[..., C], url: str, **options: Any) -> C:
    try:
        return from_url(url, **_OPTIONS, **options)
    except (ValueError, TypeError):
        raise ConfigurationError(f"REDIS_URL: it cannot be read; {_HOW}") from None
