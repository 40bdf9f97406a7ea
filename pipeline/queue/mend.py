"""Which keys workers of some queues share, and of which type each is: what `mend.lua` goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rq.defaults import RQ_KEY_PREFIX
from rq.queue import Queue
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from pipeline.queue.keys import DOORBELL

#: RQ's registries of a queue, by the middle of their keys. Those that nobody goes through, and that
#: have thousands of members, are told by their type alone.
REGISTRIES = {
    "wip": "executions",
    "scheduled": "jobs",
    "ready": "jobs",
    "finished": "zset",
    "failed": "zset",
    "deferred": "zset",
    "canceled": "zset",
}


def mended(
    worker_key: str,
    queues: Iterable[str],
    doorbell: str = DOORBELL,
    shared: Mapping[str, str] | None = None,
) -> tuple[list[str], list[Any]]:
    """Keys and arguments of the script, for the worker of this key, its queues and doorbell, and
    for others that it shares, by their types."""
    kinds = {
        REDIS_WORKER_KEYS: "workers",
        Queue.redis_queues_keys: "set",
        doorbell: "list",
        **(shared or {}),
        worker_key: "hash",
        f"{worker_key}:executions": "set",
    }
    for name in queues:
        key = f"{Queue.redis_queue_namespace_prefix}{name}"
        kinds[WORKERS_BY_QUEUE_KEY % name] = "workers"
        kinds[key] = "list"
        kinds[f"{key}:intermediate"] = "ids"
        for registry, kind in REGISTRIES.items():
            kinds[f"{RQ_KEY_PREFIX}:{registry}:{name}"] = kind
    return list(kinds), [RQ_KEY_PREFIX, *kinds.values()]
