"""Jobs as a worker has them in hand, without a queue."""

from __future__ import annotations

import time
from typing import Any

from pipeline.job import DetectJob, DetectOptions, ImageInfo
from pipeline.queue.consumer import TakenJob
from worker.batch import BatchItem


def item(image: bytes | None, **changes: Any) -> BatchItem:
    """One image, enqueued 50 ms before it was taken; `changes` are fields of TakenJob."""
    now_ns = time.time_ns()
    fields: dict[str, Any] = {
        "job_id": "job-1",
        "execution_id": "execution-1",
        "queue": "detections",
        "meta": {},
        "enqueued_ns": now_ns - 50_000_000,
        "taken_ns": now_ns,
        "origin_ns": now_ns - time.perf_counter_ns(),
        "attempt": 1,
        "reply_to": "replies",
        "job": job(),
        "image": image,
    }
    return BatchItem(TakenJob(**{**fields, **changes}))


def job(**options: Any) -> DetectJob:
    return DetectJob(
        options=DetectOptions(**options),
        image=ImageInfo(width=90, height=60, format="PNG", bytes=1234),
        upload_ms=12.5,
    )
