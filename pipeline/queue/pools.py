"""Queues of several models side by side, and who takes from which.

Images that name no model wait in the queues that there always are. A model that images can ask for
by its name has queues of its own, with workers that run it and nothing else: its pool. Nobody takes
from another pool's queues, so that no model keeps another's images waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from redis import Redis
from rq.queue import Queue
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from models.names import is_name
from pipeline.errors import ConfigurationError
from pipeline.job import Priority
from pipeline.queue.keys import DOORBELL, QUEUES, SHADOW_KEYS, TILED

#: The models that have a pool, each by when a worker of it was there last, by Redis' clock.
POOLS: Final = "damoscope:pools"
#: Most pools beside the one of images that name no model.
POOLS_MAX: Final = 16
#: Seconds after its last worker that a pool is known of.
POOL_KEPT_S: Final = 86_400


@dataclass(frozen=True)
class Pool:
    """The names in Redis of one model's queues; without a name, of those of images that name none.

    Raises ValueError for what is no name of a model. The name comes after a dot, which no name of
    ours has: `detections-high.x` is a queue of x, and none of a model that is called so.
    """

    model: str = ""

    def __post_init__(self) -> None:
        if self.model and not is_name(self.model):
            raise ValueError("no name of a model")

    @property
    def _suffix(self) -> str:
        return f".{self.model}" if self.model else ""

    @cached_property
    def queues(self) -> dict[Priority, str]:
        """Queue of each priority, in the order in which workers look at them."""
        return {priority: f"{name}{self._suffix}" for priority, name in QUEUES.items()}

    @property
    def name(self) -> str:
        """The queue that stands for all of them where figures are by queue."""
        return self.queues["normal"]

    @cached_property
    def queue_keys(self) -> tuple[str, ...]:
        """Their keys, in the same order."""
        return tuple(f"{Queue.redis_queue_namespace_prefix}{name}" for name in self.queues.values())

    @cached_property
    def doorbell(self) -> str:
        """The list on which its idle workers wait."""
        return f"{DOORBELL}{self._suffix}"

    @cached_property
    def tiled(self) -> str:
        """What is known of its images in tiles."""
        return f"{TILED}{self._suffix}"

    @cached_property
    def shadow_waiting(self) -> str:
        """Images that are answered, and wait to be looked at by its model as well."""
        return f"{SHADOW_KEYS}{self.model}:waiting"

    @cached_property
    def shadow_totals(self) -> str:
        """What came of them."""
        return f"{SHADOW_KEYS}{self.model}:totals"

    @cached_property
    def shadow_recent(self) -> str:
        """The latest in which it has found something else."""
        return f"{SHADOW_KEYS}{self.model}:recent"

    @cached_property
    def workers_key(self) -> str:
        """The set of its workers, as RQ keeps it."""
        return WORKERS_BY_QUEUE_KEY % self.name


#: That of images that name no model.
DEFAULT: Final = Pool()


def announce(redis: Redis, pool: Pool, now_s: float) -> None:
    """Say that a worker of a pool is there: who sends images finds the pool by this. `now_s` is by
    Redis' clock. Raises RedisError, and ConfigurationError where there are as many as may be."""
    if not pool.model:
        return
    pipe = redis.pipeline(transaction=False)
    pipe.zremrangebyscore(POOLS, "-inf", now_s - POOL_KEPT_S)
    pipe.zscore(POOLS, pool.model)
    pipe.zcard(POOLS)
    _, known, count = pipe.execute()
    if known is None and count >= POOLS_MAX:
        raise ConfigurationError(
            f"DAMOSCOPE_SERVES={pool.model}: {POOLS_MAX} models have queues of their own already; "
            f"one that no worker serves any more makes room after {POOL_KEPT_S // 3600} hours, or "
            f"at once by: redis-cli ZREM {POOLS} NAME"
        )
    redis.zadd(POOLS, {pool.model: now_s})


def pools_in(members: object) -> list[Pool]:
    """The pools that members of POOLS name; what names none is passed over."""
    found = []
    for member in members if isinstance(members, list) else ():
        name = member.decode("ascii", errors="replace") if isinstance(member, bytes) else ""
        if name and is_name(name):
            found.append(Pool(name))
    return found
