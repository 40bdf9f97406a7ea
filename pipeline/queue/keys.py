"""Names in Redis: queues, keys, channels, and the scripts that work on them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rq.queue import Queue
from rq.utils import utcformat
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from pipeline.job import Priority

#: The one function that a worker runs; jobs naming any other are refused.
TASK = "worker.task.detect"
#: Queue of each priority, in the order in which workers look at them.
QUEUES: dict[Priority, str] = {
    "high": "detections-high",
    "normal": "detections",
    "low": "detections-low",
}
#: Seconds for which a worker may stay silent before its jobs are given to others.
LEASE_S = 6
#: Frontends listen on `damoscope:replies:<instance>`.
REPLY_CHANNEL = "damoscope:replies:{}"
#: Idle workers wait on this list; every enqueue pushes one ring.
DOORBELL = "damoscope:doorbell"
#: Bytes of the images that wait, in all queues.
WAITING_BYTES = "damoscope:waiting:bytes"
#: Of each queue, the round in which the last image of each client waits.
ROUNDS = "damoscope:waiting:rounds:{}"
#: Of each queue, by its key, the round of what was taken last from it.
TURNS = "damoscope:waiting:turns"
#: Of each image in tiles that waits or is in work: its queue, its round, and how many images' work
#: it is. What has ended is removed by who enqueues next.
TILED = "damoscope:waiting:tiled"
#: Every encoded image has a key that begins so.
IMAGE_KEYS = "damoscope:image:"
#: Every picture that is kept to be seen beside its trace has a key that begins so, and a place in
#: the index, by the time at which it goes; their bytes, all together, are in a hash.
KEPT_KEYS, KEPT_INDEX, KEPT_TOTAL = (
    "damoscope:kept:image:", "damoscope:kept:index", "damoscope:kept:total",
)  # fmt: skip

#: What is of a model that looks at images as well, once they are answered, has keys that begin so:
#: the images that wait for it, what came of them, and the latest differences.
SHADOW_KEYS = "damoscope:shadow:"

#: What an Idempotency-Key stands for has a key that begins so.
IDEMPOTENCY_KEYS = "damoscope:idempotency:"

QUEUE_KEYS = tuple(f"{Queue.redis_queue_namespace_prefix}{name}" for name in QUEUES.values())
#: The workers that take images. `rq:workers` has those of other queues, too: the watcher's.
WORKERS_KEY = WORKERS_BY_QUEUE_KEY % QUEUES["normal"]
_SCRIPTS = Path(__file__).parent / "scripts"


def script(name: str) -> str:
    """Source of one of the Lua scripts in pipeline/queue/scripts/, with what all have in common."""
    texts = [(_SCRIPTS / f"{part}.lua").read_text(encoding="utf-8") for part in ("ours", name)]
    return "\n".join(texts)


def image_key(job_id: str) -> str:
    """Redis key of a job's encoded image."""
    return f"{IMAGE_KEYS}{job_id}"


def iso(unix_ns: int) -> str:
    """A moment in the format that RQ keeps times in."""
    return utcformat(datetime.fromtimestamp(unix_ns / 1e9, UTC))
