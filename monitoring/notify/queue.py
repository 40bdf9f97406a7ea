"""Notices wait in Redis as RQ jobs, so that they outlive the process that made them.

    enqueue -> fan_out -> deliver, one job for each channel -> (retries of that channel alone)

Every job is JSON and names one of the functions below; the watcher runs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq.exceptions import DuplicateJobError
from rq.job import Job, JobStatus, Retry
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

from monitoring.notify.deliveries import Deliveries
from monitoring.notify.notice import Notice

QUEUE = "damoscope-notices"

FAN_OUT = "monitoring.notify.task.fan_out"
DELIVER = "monitoring.notify.task.deliver"
SUM_UP = "monitoring.notify.task.sum_up"
REPORT = "monitoring.reports.task.send"
FUNCTIONS = (FAN_OUT, DELIVER, SUM_UP, REPORT)

#: Seconds until the first, second, ... further try of a channel that failed.
RETRIES_S = (10, 30, 60, 300, 900)
#: Seconds that one try may take, and that a report may take to be made.
DELIVER_S, REPORT_S = 60, 600
#: Seconds after which an unsent notice is of no use, and for which a failed one is kept.
EXPIRES_S, FAILED_S = 86_400, 7 * 86_400


def notices(redis: Redis) -> Queue:
    """The queue, with the JSON serializer."""
    return Queue(QUEUE, connection=redis, serializer=JSONSerializer, job_class=NoticeJob)


def enqueue(redis: Redis, notice: Notice) -> str:
    """Queue a notice for every channel that is configured when it is sent. Returns the job's id.

    Raises redis.exceptions.RedisError when Redis cannot be asked.
    """
    payload = notice.model_dump(mode="json")
    return notices(redis).enqueue_call(
        FAN_OUT, (payload,), timeout=DELIVER_S, **_options(f"{notice.kind} notice")
    ).id  # fmt: skip


def enqueue_deliveries(redis: Redis, notice_id: str, notice: Notice, kinds: Sequence[str]) -> None:
    """Queue one delivery for each channel, all of them or none, and only once for a notice."""
    done = f"damoscope:notify:fanned-out:{notice_id}"
    if redis.exists(done):  # by a watcher that was killed before it could say so
        return
    payload = notice.model_dump(mode="json")
    deliveries = Deliveries(redis)
    new = deliveries.untold(notice.about, kinds) if notice.about else range(len(kinds))
    jobs = [
        Queue.prepare_data(
            DELIVER, (payload, index, kind), timeout=DELIVER_S, job_id=f"{notice_id}-{index}",
            **_options(f"{notice.kind} notice to {kind}"),
        )
        for index, kind in enumerate(kinds)
        if index in new
    ]  # fmt: skip
    with redis.pipeline() as pipe:
        pipe.set(done, 1, ex=EXPIRES_S)
        if notice.about:
            deliveries.queued(notice.about, kinds, pipe)
        notices(redis).enqueue_many(jobs, pipeline=pipe)
        pipe.execute()


def enqueue_summary(redis: Redis, index: int, kind: str, at_s: float) -> bool:
    """Queue the summary of what is held back for a channel; False when one is due already."""
    queue, job_id = notices(redis), f"damoscope-held-back-{index}"
    last = queue.fetch_job(job_id)
    if last is not None and last.is_failed:  # given up; what it had to say goes with the next
        last.delete()
    try:
        queue.enqueue_at(
            datetime.fromtimestamp(at_s, UTC), SUM_UP, args=(index, kind), job_timeout=DELIVER_S,
            job_id=job_id, unique=True, **_options(f"summary of notices to {kind}"),
        )  # fmt: skip
    except DuplicateJobError:
        return False
    return True


def _options(about: str) -> dict[str, Any]:
    return {
        "description": about,  # not the arguments: they may hold a report of megabytes
        "ttl": EXPIRES_S,
        "result_ttl": 0,
        "failure_ttl": FAILED_S,
        "retry": Retry(max=len(RETRIES_S), interval=list(RETRIES_S)),
    }


class NoticeJob(Job):
    """A job that can run one of `FUNCTIONS` and nothing else, whoever wrote it to Redis."""

    # Functions that a job may name beside its own.
    success_callback = failure_callback = stopped_callback = None

    @property
    def func(self) -> Callable[..., Any]:
        """The function. Raises PermissionError for one that is not ours."""
        if self.func_name not in FUNCTIONS:
            raise PermissionError(f"this queue does not run {self.func_name}")
        return import_attribute(self.func_name)

    def send_webhooks(self, status: str | JobStatus, *, exc_string: str | None = None) -> None:
        """Nowhere: addresses come from the settings alone."""

    def retry(self, queue: Queue, pipeline: Pipeline) -> None:
        """As RQ's, but in one transaction: when killed in its midst, RQ's loses the job."""
        due = datetime.now(UTC) + timedelta(seconds=self.get_retry_interval())
        self.retries_left = (self.retries_left or 0) - 1
        queue.schedule_job(self, due, pipeline=pipeline)
