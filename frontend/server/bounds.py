"""How much one frontend lets its clients take, each and in total."""

from __future__ import annotations

import logging
import resource
from dataclasses import dataclass

from pipeline.connection import FRONTEND_CONNECTIONS
from pipeline.settings import Settings

log = logging.getLogger("damoscope.frontend")

#: Seconds in which a request's header has to arrive, from its first byte on; and in which the
#: first byte has to, on a connection that is new.
HEADER_S = 10.0
#: Bytes a second, and the seconds over which they are counted: slower bodies are given up, and
#: so are clients that read their answers more slowly.
RATE, RATE_WINDOW_S = 500, 30.0
#: Seconds that a kept connection may be silent between two requests. A camera may pause between
#: frames.
KEEP_ALIVE_S = 75
#: Bytes of a request's header, of its target alone, and fields of the header.
HEADER_BYTES, TARGET_BYTES, HEADER_FIELDS = 64 * 1024, 8 * 1024, 100
#: Requests that a client may send ahead on one connection.
PIPELINE = 16
#: Bytes of chunk sizes, chunk extensions and trailers that a body may have beyond as many bytes as
#: its content.
FRAMING_BYTES = 64 * 1024
#: Seconds for which the rest of a refused request is read and dropped: closed with bytes unread, a
#: connection is reset, and the client might not see the answer.
LINGER_S = 15.0
#: Bytes of a body, where an address has no larger bound of its own.
BODY_BYTES = 2**20
#: Seconds for which an upload waits for memory before it is refused.
MEMORY_WAIT_S = 5.0
#: Bytes a second below which an upload is given up while others wait for memory.
RATE_WHEN_SCARCE = 64 * 1024
#: Open files that are kept for everything else: SQLite, logs, temporary files, Redis' own pools.
FILES_KEPT = 64
#: The fewest connections that are worth a start.
FEWEST = 16


@dataclass(frozen=True)
class Bounds:
    """What depends on settings and on the machine."""

    #: Connections, and those of one address.
    connections: int
    connections_each: int
    #: Bytes of bodies in memory, and those of one client.
    memory: int
    memory_each: int


def bounds(settings: Settings) -> Bounds:
    """The bounds of this process. Raises its soft limit of open files as far as it helps."""
    wanted = settings.connections_max + FRONTEND_CONNECTIONS + FILES_KEPT
    files = _open_files(wanted)
    connections = max(
        FEWEST, min(settings.connections_max, files - (wanted - settings.connections_max))
    )
    if connections < settings.connections_max:
        log.warning(
            "%d connections at once instead of %d: the limit of open files is %d (ulimit -n)",
            connections, settings.connections_max, files,
        )  # fmt: skip
    # One upload always has room, and a second client's beside it.
    memory = max(settings.upload_memory_mb * 2**20, 3 * settings.max_upload_bytes)
    return Bounds(
        connections=connections,
        connections_each=connections // 2,
        memory=memory,
        memory_each=max(memory // 4, settings.max_upload_bytes + BODY_BYTES),
    )


def _open_files(wanted: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    better = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (better, hard))
    except (OSError, ValueError):
        return soft
    return better
