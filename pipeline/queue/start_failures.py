"""Workers that cannot start say so in Redis, where frontends read it: nobody sees their logs."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis

from pipeline.errors import DamoscopeError

#: A list, the newest first. An entry without a reason says that the host's worker has started.
KEY = "damoscope:start-failures"
#: Entries that are kept, characters of a reason, and bytes of an entry that is read.
KEPT, REASON_MAX, ENTRY_BYTES_MAX = 64, 300, 4096
#: Seconds that an entry counts for; a worker that fails again and again is tried every minute.
FRESH_S = 150
#: Seconds after which Redis forgets all of them.
EXPIRES_S = 600


@dataclass(frozen=True)
class StartFailure:
    """A worker that did not start when it was tried last."""

    host: str
    #: One line, fit for whoever may see the service's state.
    reason: str


def reason(error: BaseException) -> str:
    """One line about why a worker does not start."""
    text = str(error) if isinstance(error, DamoscopeError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:REASON_MAX]


def note(redis: Redis, why: str = "") -> None:
    """Note that this host's worker does not start, or, without a reason, that it has. Raises
    RedisError."""
    seconds, _ = redis.time()
    entry = json.dumps({"host": socket.gethostname(), "at": seconds, "reason": why})
    pipe = redis.pipeline(transaction=False)
    pipe.lpush(KEY, entry)
    pipe.ltrim(KEY, 0, KEPT - 1)
    pipe.expire(KEY, EXPIRES_S)
    pipe.execute()


def fresh(entries: Sequence[bytes], now_s: float) -> tuple[StartFailure, ...]:
    """Those that still count, each host's newest, by host. What is no entry is passed over."""
    newest: dict[str, StartFailure] = {}
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            continue
        try:
            said = json.loads(entry)
            found = StartFailure(str(said["host"])[:100], str(said["reason"])[:REASON_MAX])
            old = now_s - float(said["at"]) > FRESH_S
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        newest.setdefault(found.host, StartFailure(found.host, "") if old else found)
    return tuple(newest[host] for host in sorted(newest) if newest[host].reason)
