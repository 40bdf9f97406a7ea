"""The RQ job function, for a stock `rq worker` that drains the same queues.

    rq worker --serializer json detections-high detections detections-low
    DAMOSCOPE_SERVES=x rq worker --serializer json detections-high.x detections.x detections-low.x

It runs one image at a time with RQ's own bookkeeping; the model is loaded once in each
process. damoscope's own workers never call this: they only know it by name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson
from rq import get_current_job

from pipeline.errors import DamoscopeError
from pipeline.job import JobError
from pipeline.queue.consumer import taken_from_rq
from pipeline.queue.keys import image_key
from pipeline.queue.messages import reply
from pipeline.settings import load
from worker.batch import BatchItem
from worker.stages import Stages
from worker.switching import served_detector


@lru_cache(maxsize=1)
def _stages() -> Stages:
    return Stages(served_detector(load()), threads=1)


def detect(payload: dict[str, Any]) -> dict[str, Any]:
    """Run one job and reply to its frontend. Returns the `DetectionResult` as plain data."""
    job = get_current_job()
    assert job is not None, "detect runs inside an RQ worker only"
    redis = job.connection
    item = BatchItem(taken_from_rq(job, payload))
    try:
        result = _run(item, str(job.worker_name))
    except DamoscopeError as error:
        job.retries_left = 0  # the same image would fail the same way
        message = reply(job.id, error=JobError(code=error.code, message=str(error)))
        redis.publish(item.taken.reply_to, message)
        raise
    redis.publish(item.taken.reply_to, reply(job.id, result=result))
    redis.delete(image_key(job.id))
    plain: dict[str, Any] = orjson.loads(result)
    return plain


def _run(item: BatchItem, worker: str) -> bytes:
    stages = _stages()
    stages.run(item)
    return stages.result(item, worker)
