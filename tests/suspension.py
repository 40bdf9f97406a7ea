"""Workers that take nothing, as by `rq suspend`, and are known to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from rq.suspension import resume, suspend
from rq.worker import BaseWorker

from tests.servers import eventually


def heartbeats(redis: Redis) -> dict[str, object]:
    """The last one of each worker that is registered, by its name."""
    return {each.name: each.last_heartbeat for each in BaseWorker.all(connection=redis)}


def next_heartbeats(redis: Redis) -> None:
    """Return once each worker has sent another one, or is gone. A worker registers after it has
    said that it is ready."""
    before = eventually(lambda: heartbeats(redis), "a registered worker")

    def all_have() -> bool:
        now = heartbeats(redis)
        return all(now.get(name) != last for name, last in before.items())

    eventually(all_have, "another heartbeat of each worker")


def suspend_workers(redis: Redis) -> None:
    """From when this returns, workers take nothing. They look whether they may after each
    heartbeat: one that has sent two more has looked since it was told."""
    suspend(redis)
    for _ in range(2):
        next_heartbeats(redis)


@contextmanager
def no_worker_takes(redis: Redis) -> Iterator[None]:
    """The workers stay ready and take nothing."""
    suspend_workers(redis)
    try:
        yield
    finally:
        resume(redis)
