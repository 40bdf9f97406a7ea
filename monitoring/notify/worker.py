"""The RQ worker of the queue of notices, as a part of the watcher's own loop.

RQ's `work()` would fork a scheduler, listen for commands in a thread and find what a killed
worker held only after minutes. This one takes a step at a time, on RQ's own pieces, and a
killed watcher's notices are taken up again within seconds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from typing import cast
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import DequeueTimeout, NoSuchJobError
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import ScheduledJobRegistry, clean_registries
from rq.utils import current_timestamp, now
from rq.worker import SimpleWorker
from rq.worker_registration import clean_worker_registry

from monitoring.notify.queue import NoticeJob, notices
from monitoring.notify.task import NotDelivered
from pipeline.liveness import Alive
from pipeline.queue.keys import script
from pipeline.queue.mend import mended

log = logging.getLogger("damoscope.watcher")

#: Seconds after the last heartbeat at which a job counts as abandoned, and between heartbeats.
LEASE_S, HEARTBEAT_S = 12, 3.0
#: Seconds between looks for abandoned jobs.
CLEAN_S = 5
#: Seconds without a sign after which the worker counts as gone (RQ adds a minute).
#: Not more: RQ would lengthen the connection's timeouts with it.
WORKER_TTL_S = 20
#: Seconds that a job in hand has left when the watcher is told to stop.
LAST_S = 1.0

# Jobs that are due go from the scheduled registry to the queue, each exactly once.
# KEYS: registry, queue.  ARGV: Unix time, prefix of job keys, the status `queued`.
_DUE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], 0, ARGV[1])
for _, id in ipairs(due) do
  redis.call('ZREM', KEYS[1], id)
  if redis.call('EXISTS', ARGV[2] .. id) == 1 then
    redis.call('HSET', ARGV[2] .. id, 'status', ARGV[3])
    redis.call('RPUSH', KEYS[2], id)
  end
end
return #due
"""


class NoticeWorker(SimpleWorker):
    """Runs jobs of the queue of notices, in the main thread. Methods raise RedisError."""

    job_class = NoticeJob
    log_result_lifespan = False

    def __init__(self, redis: Redis, alive: Alive | None = None) -> None:
        """`alive` is told, with the seconds that a job may take, that one begins."""
        super().__init__(
            [notices(redis)],
            name=f"watcher-{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:4]}",
            connection=redis,
            serializer="json",
            maintenance_interval=CLEAN_S,
            worker_ttl=WORKER_TTL_S,
        )
        self._alive = alive
        self._queue = self.queues[0]
        self._scheduled = ScheduledJobRegistry(queue=self._queue)
        self._due = redis.register_script(_DUE)
        self._mend = redis.register_script(script("mend"))

    def step(self, wait_s: int) -> bool:
        """Run one job; wait up to `wait_s` for it. Returns whether there was one."""
        if not self.connection.hexists(self.key, "birth"):  # Redis lost it, or it never was
            self.connection.delete(self.key)
            self.register_birth()
        self.heartbeat()
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()
        self._due(
            keys=[self._scheduled.key, self._queue.key],
            args=[current_timestamp(), Job.redis_job_namespace_prefix, JobStatus.QUEUED.value],
        )
        try:
            found = Queue.dequeue_any(
                self.queues, wait_s, self.connection, job_class=NoticeJob,
                serializer=self.serializer,
            )  # fmt: skip
        except DequeueTimeout:
            return False
        if found is not None:
            self.execute_job(*found)
        return found is not None

    def stop_soon(self) -> None:
        """Give the job in hand a last second; then it counts as failed and is tried again."""
        # RQ's own time limit is an alarm, too; without one there is nothing in hand.
        if signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, signal.SIG_IGN, None):
            # Repeated, because taking leave of a server that hangs may hang as well.
            signal.setitimer(signal.ITIMER_REAL, LAST_S, LAST_S / 4)

    # -- what RQ's worker calls -----------------------------------------------------------

    def run_maintenance_tasks(self) -> None:
        """Take up what killed watchers held. Two watchers that do so at once do no harm."""
        # First, so that one job that cannot be read does not keep the others waiting.
        self.last_cleaned_at = now()  # type: ignore[assignment]
        self._refuse(self._mend(*mended(self.key, [self._queue.name])))
        self._refuse_unreadable()
        clean_registries(self._queue)
        clean_worker_registry(self._queue)
        self._queue.intermediate_queue.cleanup(self, self._queue)

    def _refuse_unreadable(self) -> None:
        """Remove jobs whose record is none: RQ ends at the first, and those behind would wait."""
        intermediate = self._queue.intermediate_queue
        wip = self._queue.started_job_registry
        executions = cast("list[bytes]", self.connection.zrange(wip.key, 0, -1))
        waiting = dict.fromkeys(intermediate.get_job_ids())
        running = {wip.parse_job_id(each.decode()): each for each in executions}
        for job_id in waiting | running:
            try:
                NoticeJob.fetch(job_id, connection=self.connection, serializer=self.serializer)
            except NoSuchJobError:
                continue
            except RedisError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
            except Exception:
                log.debug("job %s cannot be read", job_id, exc_info=True)
            else:
                continue
            intermediate.remove(job_id)
            if job_id in running:
                self.connection.zrem(wip.key, running[job_id])
            self.connection.delete(Job.key_for(job_id))
            self._refuse(1)

    def _refuse(self, count: int) -> None:
        if count:
            log.warning("%d malformed entries of the queue of notices are refused", count)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run one job under a lease that lasts as long as this process lives."""
        if self._alive is not None:
            self._alive(float(job.timeout or 0))
        execution = self.prepare_execution(job)
        done = threading.Event()
        beating = threading.Thread(target=self._beat, args=(job, execution, done), daemon=True)
        beating.start()
        try:
            self.perform_job(job, queue, execution)
        finally:
            done.set()
            beating.join()
        self.set_state("idle")

    def _beat(self, job: Job, execution: Execution, done: threading.Event) -> None:
        while not done.wait(HEARTBEAT_S):
            # Without Redis the lease ends, and the job is tried again; the loop complains.
            with contextlib.suppress(RedisError):
                self.maintain_heartbeats(job, execution)

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds of the lease."""
        return LEASE_S

    def handle_exception(self, job: Job, *exc_info: object) -> None:
        """One line for a channel that refuses, RQ's traceback for anything else."""
        error = exc_info[1]
        if not isinstance(error, NotDelivered):
            super().handle_exception(job, *exc_info)
        elif job.retries_left:
            log.warning("%s; next try in %d s", error, job.get_retry_interval())
        else:
            log.error("%s; given up", error)
