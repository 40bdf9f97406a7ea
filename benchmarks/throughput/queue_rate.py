"""Jobs a second from queue to result: a full queue, and one worker that is let go at it."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rq.suspension import resume, suspend

from pipeline.job import DetectJob, DetectOptions, ImageInfo
from pipeline.queue.keys import QUEUES
from pipeline.queue.producer import Producer

#: Within this time a worker has seen that it is suspended: a heartbeat, and some.
SUSPEND_S = 3.0
#: Jobs that may take the time of the worker's start, before the clock runs.
FIRST = 20
TIMEOUT_S = 120.0


def jobs_per_s(socket: Path, image: bytes, count: int) -> float:
    """Rate at which the workers on this Redis finish `count` jobs that all wait at once.

    The clock runs from the first few finished jobs to the last. Raises RuntimeError when they
    are not done in time.
    """
    redis = Redis(unix_socket_path=str(socket))
    finished = f"rq:finished:{QUEUES['normal']}"
    try:
        suspend(redis)
        time.sleep(SUSPEND_S)
        asyncio.run(_enqueue(socket, image, count))
        before = int(redis.zcard(finished))
        resume(redis)
        deadline = time.monotonic() + TIMEOUT_S
        began, first = 0.0, 0
        while (done := int(redis.zcard(finished)) - before) < count:
            if not began and done >= FIRST:
                began, first = time.perf_counter(), done
            if time.monotonic() > deadline:
                raise RuntimeError(f"{done} of {count} jobs done after {TIMEOUT_S:.0f} s")
            time.sleep(0.005)
        return (count - first) / (time.perf_counter() - began)
    finally:
        resume(redis)
        redis.close()


async def _enqueue(socket: Path, image: bytes, count: int) -> None:
    redis = AsyncRedis(unix_socket_path=str(socket))
    producer = Producer(
        redis, queue_max=count + 1000, job_ttl_s=600, result_ttl_s=600, attempts_max=3
    )
    info = ImageInfo(width=160, height=120, format="JPEG", bytes=len(image))
    for _ in range(count):
        job_id = secrets.token_hex(16)
        job = DetectJob(options=DetectOptions(), image=info, upload_ms=0.0)
        # A sampled context of its own, so that each job leaves its spans.
        meta = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
        await producer.store_image(job_id, image)
        await producer.enqueue(
            job_id, job, priority="normal", meta=meta, reply_to="damoscope:replies:benchmark"
        )
    await redis.aclose()
