"""Health check of a worker's container, and the watcher's: its heartbeat in Redis is fresh.

A worker that hangs in a native call stays alive as a process; its heartbeat ends.
When Redis cannot be reached this says healthy: restarting workers would not help.
"""

from __future__ import annotations

import os
import socket
import sys
from datetime import UTC, datetime

from redis import Redis
from redis.exceptions import RedisError
from rq.worker import BaseWorker, Worker

#: A worker beats every few seconds; RQ forgets it after its TTL.
HEARTBEAT_AGE_MAX_S = 60.0


def is_fresh(worker: BaseWorker, hostname: str, now: datetime) -> bool:
    """Whether `worker` runs on `hostname` and was heard of in the last minute."""
    beat = worker.last_heartbeat
    if worker.hostname != hostname or beat is None:
        return False
    if beat.tzinfo is None:
        beat = beat.replace(tzinfo=UTC)
    return (now - beat).total_seconds() < HEARTBEAT_AGE_MAX_S


def main() -> int:
    """Exit code 0 when this container's worker is fresh or Redis is away, else 1."""
    url = os.environ.get("REDIS_URL") or os.environ.get("DAMOSCOPE_REDIS_URL") or ""
    hostname = socket.gethostname()
    try:
        redis = Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3)
        workers = Worker.all(connection=redis)
    except (RedisError, ValueError, OSError) as error:
        # Its kind alone: the text may hold parts of the address, and so of the password.
        print(f"Redis cannot be asked, worker taken for healthy: {type(error).__name__}")
        return 0
    now = datetime.now(UTC)
    if any(is_fresh(worker, hostname, now) for worker in workers):
        return 0
    print(f"no worker on {hostname} was heard of in {HEARTBEAT_AGE_MAX_S:.0f} s")
    return 1


if __name__ == "__main__":
    sys.exit(main())
