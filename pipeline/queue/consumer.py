"""A worker's end of the queue: takes, leases and finishes jobs."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import uuid4

import orjson
from redis import Redis
from redis.exceptions import NoScriptError, RedisError
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job
from rq.queue import Queue
from rq.results import Result

from pipeline import errors
from pipeline.connection import passing
from pipeline.job import DetectJob, JobError
from pipeline.queue.clock import RedisClock
from pipeline.queue.keys import (
    LEASE_S,
    REPLY_CHANNEL,
    TURNS,
    WAITING_BYTES,
    image_key,
    iso,
    script,
)
from pipeline.queue.malformed import Kind, Tally, nobody
from pipeline.queue.mend import mended
from pipeline.queue.messages import LOST, exc_string, pack_exc, reply
from pipeline.queue.payload import (
    RECORD_BYTES_MAX,
    not_ours,
    read_channel,
    read_iso_ns,
    read_job,
    read_meta,
    read_ns,
)
from pipeline.queue.pools import DEFAULT, POOLS, Pool

#: Tries of a job at most, whatever its record says: what the setting allows.
TRIES_MAX = 10
#: Nanoseconds that a job can have waited: longer than any is kept. What says otherwise is wrong.
WAITED_MAX_NS = 7 * 86_400 * 10**9
#: Tries to get the images of jobs that were taken, and seconds between them: within their lease.
IMAGES_TRIES, IMAGES_PAUSE_S = 12, 0.5
#: Times of spans are whole numbers of 64 bits.
_TIME_MAX_NS = 2**63


@dataclass(slots=True)
class TakenJob:
    """A job in this worker's hands."""

    job_id: str
    execution_id: str
    #: Name of the queue that it came from.
    queue: str
    meta: dict[str, str]
    #: Unix nanoseconds on the clock of the frontend that enqueued it; the time between them is
    #: by Redis' clock.
    enqueued_ns: int
    taken_ns: int
    #: What makes such a time of this process' `time.perf_counter_ns`.
    origin_ns: int
    #: 1 for the first try.
    attempt: int
    reply_to: str
    #: None when the job is not one of ours; `refusal` then says why.
    job: DetectJob | None
    refusal: str = ""
    #: The encoded image, or None when its key has expired.
    image: bytes | None = None
    #: Its deadline had passed, by Redis' clock, when it was taken.
    expired: bool = False
    #: Its deadline, as `taken_ns`; None where there is none.
    deadline_ns: int | None = None
    #: How far this host's clock is ahead of the frontend's, as far as it is known.
    skew_ns: int = 0
    #: Nothing else was waiting or being worked on, by any worker.
    alone: bool = False

    def now_ns(self) -> int:
        """This moment on the clock of `enqueued_ns` and `taken_ns`."""
        return time.perf_counter_ns() + self.origin_ns

    @property
    def overdue(self) -> bool:
        """Its deadline has passed by now."""
        return self.deadline_ns is not None and self.now_ns() > self.deadline_ns


class Stored(IntEnum):
    """What has become of an outcome; false where the job is in other hands."""

    #: The lease was lost, and another worker answers.
    TOO_LATE = 0
    STANDS = 1
    #: The image was taken back meanwhile: nobody gets the outcome, and the job has ended.
    WITHDRAWN = 2


#: Keys and arguments of a script.
Call = tuple[list[Any], list[Any]]


class Consumer:
    """Takes, leases and finishes jobs for one worker.

    Methods block. Any thread may call them, but only one at a time may take.
    """

    def __init__(self, redis: Redis, worker_name: str, *, result_ttl_s: int,
                 tally: Tally = nobody, pool: Pool = DEFAULT) -> None:  # fmt: skip
        self._redis = redis
        self._pool = pool
        self._worker = worker_name
        self._tally = tally
        self._worker_key = f"{RQ_KEY_PREFIX}:worker:{worker_name}"
        self._result_ttl_s = result_ttl_s
        self._take = redis.register_script(script("take"))
        self._finish = redis.register_script(script("finish"))
        self._heartbeat = redis.register_script(script("heartbeat"))
        self._recover = redis.register_script(script("recover"))
        self._mend = redis.register_script(script("mend"))
        #: Of `perf_counter_ns`: this host's own idea of the time of day takes no part.
        self._clock = RedisClock()
        #: Seconds that an image takes this worker; None until it is known. Frontends are told with
        #: each batch that is taken, and refuse by it what cannot be answered in time.
        self.pace_s: float | None = None

    def wait(self, timeout_s: float) -> bytes | None:
        """Return when something may be waiting, after `timeout_s` at the latest.

        A model that images ask for may be waited for by what is answered already: while nothing
        else is, one of these is returned (pipeline.queue.shadow).
        """
        shadow = self._pool.shadow_waiting
        keys = [self._pool.doorbell, *([shadow] if self._pool.model else ())]  # the first first
        came: Any = self._redis.blpop(keys, timeout=timeout_s)
        return came[1] if came and came[0] == shadow.encode() else None

    def take(self, most: int, *, ahead: bool = False) -> list[TakenJob]:
        """Take up to `most` jobs and their images; `ahead` leaves some for idle workers."""
        pool = self._pool
        keys = [pool.doorbell, self._worker_key, pool.workers_key, WAITING_BYTES, TURNS,
                *pool.queue_keys]  # fmt: skip
        args: list[Any] = [
            RQ_KEY_PREFIX, self._worker, iso(self.redis_ns()), LEASE_S, most, int(ahead),
            RECORD_BYTES_MAX, "" if self.pace_s is None else f"{self.pace_s:.6f}",
            *(uuid4().hex for _ in range(most)),
        ]  # fmt: skip
        sent_ns = time.perf_counter_ns()
        redis_us, entries, malformed = self._take(keys, args)
        moment = _Moment.of(self._clock, sent_ns, redis_us * 1000)
        jobs = [_taken(entry, moment) for entry in entries]
        self._count("job", malformed + sum(job.job is None for job in jobs))
        if jobs:
            # Not in the script: Redis' Lua reads every byte of a text one by one, to hash it, which
            # is 0.4 ms for a photo of 250 kB.
            for job, image in zip(jobs, self._images(jobs), strict=True):
                job.image = image
        return jobs

    def _images(self, jobs: list[TakenJob]) -> list[bytes | None]:
        """The images of jobs that were just taken. Redis may refuse this for a while: given up as
        late as their lease allows, since a job that is given up has had a try."""
        keys = [image_key(job.job_id) for job in jobs]
        for _ in range(IMAGES_TRIES - 1):
            try:
                return self._redis.mget(keys)  # type: ignore[return-value]  # nothing is decoded
            except RedisError as error:
                if not passing(error):
                    raise
                time.sleep(IMAGES_PAUSE_S)
        return self._redis.mget(keys)  # type: ignore[return-value]

    def mend(self) -> None:
        """Remove what is none of ours from under the names of the keys that workers share, and of
        this one's, and the names of workers that are gone."""
        pool = self._pool
        shared = {POOLS: "zset"}
        if pool.model:
            shared |= {
                pool.shadow_waiting: "list", pool.shadow_totals: "hash",
                pool.shadow_recent: "list",
            }  # fmt: skip
        ours = mended(self._worker_key, pool.queues.values(), pool.doorbell, shared)
        self._count("key", self._mend(*ours))

    def _count(self, kind: Kind, malformed: int) -> None:
        if malformed:
            self._tally(kind, malformed)

    def redis_ns(self) -> int:
        """This moment in Unix nanoseconds by Redis' clock."""
        if self._clock.ahead_ns is None:
            _Moment.asked(self._redis, self._clock)
        return time.perf_counter_ns() - (self._clock.ahead_ns or 0)

    def heartbeat(self, jobs: Iterable[TakenJob]) -> None:
        """Extend the lease of the jobs in hand."""
        held = [part for job in jobs for part in (job.queue, job.job_id, job.execution_id)]
        if held:
            _, malformed = self._heartbeat(args=[RQ_KEY_PREFIX, LEASE_S, *held])
            self._count("key", malformed)

    def look(self, job: TakenJob) -> bool:
        """Whether a job in hand is wanted still: its client may have withdrawn it. Notes whether
        it is alone by now."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hexists(Job.key_for(job.job_id), "damoscope_withdrawn")
        for name in self._pool.queues.values():
            pipe.llen(f"{Queue.redis_queue_namespace_prefix}{name}")
            pipe.zcard(f"{RQ_KEY_PREFIX}:wip:{name}")
        withdrawn, *others = pipe.execute()
        job.alone = sum(others) == 1  # itself
        return not withdrawn

    def recover(self) -> tuple[int, int]:
        """Put back, or fail, what dead workers held. Returns (put back, failed)."""
        error = JobError(code=LOST.code, message=str(LOST))
        message = b'{"error":' + error.model_dump_json().encode() + b"}"
        now = iso(self.redis_ns())
        back, failed, malformed = self._recover(
            keys=[self._pool.doorbell, *self._pool.queue_keys],
            args=[RQ_KEY_PREFIX, now, self._result_ttl_s, pack_exc(exc_string(LOST)), message,
                  TRIES_MAX, REPLY_CHANNEL.format("")],
        )  # fmt: skip
        self._count("key", malformed)
        return int(back), int(failed)

    def finish(self, outcomes: Sequence[tuple[TakenJob, bytes | errors.DamoscopeError]],
               work_s: float) -> list[Stored]:  # fmt: skip
        """Store results (as JSON) or errors, and reply, in one round trip.

        `work_s` is the time the batch took. Returns for each what has become of it.
        """
        calls = [self._call(job, outcome, work_s / len(outcomes)) for job, outcome in outcomes]
        if len(calls) == 1:
            answers = [self._finish(*calls[0])]
        else:
            try:
                answers = self._finish_all(calls)
            except NoScriptError:  # Redis was restarted; all were refused
                self._redis.script_load(self._finish.script)
                answers = self._finish_all(calls)
        self._count("key", sum(malformed for _, malformed in answers))
        return [Stored(stored) for stored, _ in answers]

    def _finish_all(self, calls: Sequence[Call]) -> list[list[int]]:
        # Not through the Script object: it would ask each time whether Redis has the script.
        pipe = self._redis.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self._finish.sha, len(keys), *keys, *args)
        return pipe.execute()

    def _call(self, job: TakenJob, outcome: bytes | errors.DamoscopeError, work_s: float) -> Call:
        """Keys and arguments of the script that stores this outcome."""
        failed = isinstance(outcome, errors.DamoscopeError)
        if isinstance(outcome, errors.DamoscopeError):
            registry = f"{RQ_KEY_PREFIX}:failed:{job.queue}"
            message = reply(job.job_id, error=JobError(code=outcome.code, message=str(outcome)))
            kind, value = Result.Type.FAILED, ("exc_string", pack_exc(exc_string(outcome)))
        else:
            registry = f"{RQ_KEY_PREFIX}:finished:{job.queue}"
            message = reply(job.job_id, result=outcome)
            kind, value = (
                Result.Type.SUCCESSFUL,
                ("return_value", base64.b64encode(outcome).decode()),
            )
        keys = [f"{RQ_KEY_PREFIX}:wip:{job.queue}", registry, Job.key_for(job.job_id),
                Result.get_key(job.job_id), self._worker_key, image_key(job.job_id)]  # fmt: skip
        ended_ns = self.redis_ns()
        started_ns = ended_ns - (job.now_ns() - job.taken_ns)
        args = [RQ_KEY_PREFIX, job.job_id, job.execution_id, self._worker,
                "failed" if failed else "finished", iso(ended_ns), self._result_ttl_s,
                f"{work_s:.6f}", job.reply_to, message,
                "type", kind.value, "worker_name", self._worker,
                "execution_id", job.execution_id,
                "execution_started_at", started_ns / 1e9,
                "execution_ended_at", ended_ns / 1e9, *value]  # fmt: skip
        return keys, args


@dataclass(frozen=True, slots=True)
class _Moment:
    """When jobs were taken, by Redis' clock and by those of this process, in nanoseconds."""

    redis_ns: int
    #: How far this process' clocks are ahead of Redis'.
    perf_ahead_ns: int
    wall_ahead_ns: int

    @classmethod
    def of(cls, clock: RedisClock, sent_ns: int, redis_ns: int) -> _Moment:
        """Of a round trip that began at `sent_ns` and just ended; `clock` learns from it."""
        now_ns, wall_ns = time.perf_counter_ns(), time.time_ns()
        ahead_ns = clock.seen(sent_ns, redis_ns, now_ns)
        return cls(redis_ns, ahead_ns, wall_ns - (now_ns - ahead_ns))

    @classmethod
    def asked(cls, redis: Redis, clock: RedisClock) -> _Moment:
        """This moment: Redis is asked for it."""
        sent_ns = time.perf_counter_ns()
        seconds, microseconds = redis.time()
        return cls.of(clock, sent_ns, seconds * 10**9 + microseconds * 1000)

    def times(self, iso_time: bytes, enqueued: bytes, deadline: bytes,
              frontend: bytes) -> dict[str, Any]:  # fmt: skip
        """Those fields of a TakenJob that are times, from those of the job's hash."""
        enqueued_ns = read_ns(enqueued) or read_iso_ns(iso_time) or self.redis_ns
        if enqueued_ns < self.redis_ns - WAITED_MAX_NS:
            enqueued_ns = self.redis_ns
        deadline_ns = read_ns(deadline)
        # By how much the frontend's clock is ahead of Redis': nothing where it does not say.
        frontend_ns = read_ns(frontend) or 0
        if not WAITED_MAX_NS <= self.redis_ns + frontend_ns < _TIME_MAX_NS:
            frontend_ns = 0
        return {
            "enqueued_ns": min(enqueued_ns, self.redis_ns) + frontend_ns,
            "taken_ns": self.redis_ns + frontend_ns,
            "origin_ns": frontend_ns - self.perf_ahead_ns,
            "expired": deadline_ns is not None and self.redis_ns > deadline_ns,
            "deadline_ns": None if deadline_ns is None else deadline_ns + frontend_ns,
            "skew_ns": self.wall_ahead_ns - frontend_ns,
        }


def _taken(entry: list[Any], moment: _Moment) -> TakenJob:
    job_id, execution_id, queue_key, data, meta, before, reply_to, *times, alone = entry
    job, refusal = read_job(data)
    return TakenJob(
        job_id=job_id.decode(),
        execution_id=execution_id.decode(),
        queue=queue_key.decode().removeprefix(Queue.redis_queue_namespace_prefix),
        meta=read_meta(meta),
        attempt=int(before) + 1,
        alone=alone == 1,
        reply_to=read_channel(reply_to),
        job=job,
        refusal=refusal,
        **moment.times(*times),
    )


def taken_from_rq(job: Job, payload: Any) -> TakenJob:
    """The same for a job that a stock RQ worker took."""
    try:
        detect_job, refusal = DetectJob.model_validate(payload), ""
    except ValueError as error:
        detect_job, refusal = None, not_ours(error)
    moment = _Moment.asked(job.connection, RedisClock())
    pipe = job.connection.pipeline(transaction=False)
    pipe.get(image_key(job.id))
    pipe.hmget(job.key, "damoscope_reply", "enqueued_at", "damoscope_enqueued",
               "damoscope_deadline", "damoscope_clock")  # fmt: skip
    image, (reply_to, *times) = pipe.execute()
    return TakenJob(
        job_id=job.id,
        execution_id="",
        queue=job.origin,
        meta=read_meta(orjson.dumps(job.meta)),
        attempt=(job.number_of_retries or 0) + 1,
        reply_to=read_channel(reply_to or b""),
        job=detect_job,
        refusal=refusal,
        image=image,
        **moment.times(*(value or b"" for value in times)),
    )
