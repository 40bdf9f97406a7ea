"""The frontend's end of the queue: stores images, enqueues jobs, reads their state."""

from __future__ import annotations

import base64
import logging
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import orjson
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoScriptError, ResponseError
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus, Retry
from rq.queue import Queue
from rq.results import Result
from rq.serializers import JSONSerializer

from pipeline import errors
from pipeline.job import DetectJob, JobError, JobState, Priority
from pipeline.queue.admission import Admissions
from pipeline.queue.clock import ClockSteps, RedisClock
from pipeline.queue.idempotency import First, Once, read_value, value_of
from pipeline.queue.keys import (
    IDEMPOTENCY_KEYS,
    QUEUES,
    REPLY_CHANNEL,
    ROUNDS,
    TASK,
    TURNS,
    WAITING_BYTES,
    image_key,
    iso,
    script,
)
from pipeline.queue.malformed import Tally, nobody
from pipeline.queue.messages import error_from_exc_string, unpack_exc
from pipeline.queue.payload import read_meta, read_trace_id
from pipeline.queue.pools import DEFAULT, Pool
from pipeline.queue.round_trips import RoundTrips

log = logging.getLogger("damoscope.queue")

#: Where an image was that is taken back: waiting, or begun by a worker; taken back before; or, too
#: late, done, or nowhere.
Withdrawn = Literal["queued", "started", "canceled", "ended", "gone"]
#: Seconds after which the bytes that wait are counted anew.
RECOUNT_S = 5
MB = 2**20


class Producer:
    """Stores images, enqueues jobs, reads their state. All methods are coroutines."""

    def __init__(self, redis: AsyncRedis, *, queue_max: int, job_ttl_s: int, result_ttl_s: int,
                 attempts_max: int, queue_mb: int = 512, admissions: Admissions | None = None,
                 pools: Callable[[], Sequence[Pool]] = tuple, tally: Tally = nobody,
                 ) -> None:  # fmt: skip
        """Without `admissions` that know the workers, a queue is bounded by its size alone. `pools`
        are those that there are beside the one of images that name no model."""
        self._redis = redis
        self._queue_mb = queue_mb
        self._admissions, self._pools = admissions or Admissions(lambda _: None), pools
        self._tally = tally
        self._together = RoundTrips(redis)
        self._queue_max = queue_max
        self._job_ttl_s = job_ttl_s
        self._result_ttl_s = result_ttl_s
        self._retry = (
            Retry(max=attempts_max - 1, enqueue_at_front=True) if attempts_max > 1 else None
        )
        self._enqueue = redis.register_script(script("enqueue"))
        self._withdraw = redis.register_script(script("withdraw"))
        self._constant = self._constant_fields()
        #: This host's clock beside Redis'; None before the first job.
        self._clock: RedisClock | None = None
        self._steps = ClockSteps()

    async def store_image(self, job_id: str, data: bytes) -> None:
        """Store the encoded image under the job's own key."""
        kept_s = self._job_ttl_s + self._result_ttl_s
        await self._together.run("SET", image_key(job_id), data, "EX", kept_s)

    async def discard_image(self, job_id: str) -> None:
        """Take back an image whose job was not enqueued."""
        await self._together.run("DEL", image_key(job_id))

    async def first(self, key: str) -> First | None:
        """What came first with an Idempotency-Key, of which `key` is the key in Redis."""
        try:
            return read_value(await self._together.run("GET", key))
        except ResponseError as error:
            if _wrong_type(error):  # the script that enqueues removes it
                return None
            raise

    async def enqueue(self, job_id: str, job: DetectJob, *, priority: Priority,
                      meta: dict[str, str], reply_to: str, ttl_s: float | None = None,
                      client: str = "", once: Once | None = None,
                      pool: Pool = DEFAULT) -> First | None:  # fmt: skip
        """Enqueue one job whose image is stored, for the workers of a pool. Raises Overloaded when
        its queues are full, or when it could not be answered within `ttl_s`.

        With `once`, unless another job has been enqueued with the same key: that is returned.

        `meta` carries the trace context, and its `trace_id`; `reply_to` is the channel the reply
        is published on; `ttl_s` after this, by Redis' clock, no worker begins the job any more.
        Clients take turns, each under its name.
        """
        if self._steps.happened() or self._clock is None:
            self._clock = await self._compared()
        clock, sent_ns = self._clock, time.time_ns()
        ahead_ns = clock.ahead_ns or 0
        queue, admission = pool.queues[priority], self._admissions.of(pool)
        fields = self._fields(job_id, job, queue, meta, reply_to, sent_ns - ahead_ns)
        if ahead_ns:
            fields += ("damoscope_clock", ahead_ns // 1000)
        within_s = self._job_ttl_s if ttl_s is None else ttl_s
        images = job.images
        most_ahead = admission.most_ahead(within_s, images)
        others = [each for each in (DEFAULT, *self._pools()) if each != pool]
        keys = [Job.key_for(job_id), f"{Queue.redis_queue_namespace_prefix}{queue}",
                pool.doorbell, Queue.redis_queues_keys, WAITING_BYTES, ROUNDS.format(queue),
                TURNS, once.key if once else IDEMPOTENCY_KEYS, pool.tiled, *pool.queue_keys,
                *(key for each in others for key in each.queue_keys)]  # fmt: skip
        stands_for = value_of(First(job_id, once.fingerprint)) if once else b""
        call = [len(keys), *keys, self._queue_max, self._queue_mb * MB,
                -1 if most_ahead is None else most_ahead, RECOUNT_S, RQ_KEY_PREFIX,
                self._job_ttl_s + self._result_ttl_s, job_id, within_s, client, job.image.bytes,
                stands_for, self._result_ttl_s, once.given_up if once else "", images,
                len(pool.queue_keys), *fields]  # fmt: skip
        try:
            answer = await self._together.run("EVALSHA", self._enqueue.sha, *call)
        except NoScriptError:  # Redis was restarted
            answer = await self._together.run("EVAL", self._enqueue.script, *call)
        said, ahead, held, redis_us, malformed = answer[:5]
        if malformed:
            self._tally("key", malformed)
        clock.seen(sent_ns, redis_us * 1000, time.time_ns())
        if said == b"first":
            first = read_value(answer[5])
            # Its own, where the answer to the first try was lost with the connection.
            return None if first and first.job_id == job_id else first
        full = self._no_room(said, held)
        admission.told(client, priority, ahead=ahead, held=held, full=bool(full), images=images)
        if full:
            raise admission.full(full)
        if said == b"late":
            raise admission.late(ahead, within_s, images)
        return None

    def _no_room(self, said: bytes, held: int) -> str:
        """What enqueue.lua said, where that is that there is no room."""
        match said:
            case b"full":
                return f"the queue is full ({self._queue_max} images waiting); try again later"
            case b"bytes":
                return f"the queue is full ({self._queue_mb} MB of images waiting); try again later"
            case b"share":
                return (
                    f"this client has {held} images waiting, its share of a queue that is nearly "
                    "full; try again later"
                )
            case _:
                return ""

    async def withdraw(self, job_id: str, *, tell: bool = False) -> Withdrawn:
        """Take an image back; one that a worker has begun is finished, and its outcome dropped.

        `tell` who waits for it. Its state is `cancelled` from now on, unless it was too late.
        """
        keys = [Job.key_for(job_id), image_key(job_id), WAITING_BYTES]
        now_ns = time.time_ns() - ((self._clock and self._clock.ahead_ns) or 0)
        told = b'{"error":%b}' % CANCELLED.model_dump_json().encode() if tell else b""
        call = [len(keys), *keys, RQ_KEY_PREFIX, job_id, iso(now_ns), self._result_ttl_s,
                REPLY_CHANNEL.format(""), told, QUEUES["normal"], ROUNDS.format("")]  # fmt: skip
        try:
            answer = await self._together.run("EVALSHA", self._withdraw.sha, *call)
        except NoScriptError:  # Redis was restarted
            answer = await self._together.run("EVAL", self._withdraw.script, *call)
        where, malformed = answer
        if malformed:
            self._tally("key", malformed)
        return cast(Withdrawn, where.decode())

    async def _compared(self) -> RedisClock:
        """The clocks are taken to agree as far as a first look at Redis' does not deny it."""
        clock, sent_ns = RedisClock(ahead_ns=0), time.time_ns()
        seconds, microseconds = await self._together.run("TIME")
        clock.seen(sent_ns, seconds * 10**9 + microseconds * 1000, time.time_ns())
        return clock

    def _fields(self, job_id: str, job: DetectJob, queue: str, meta: dict[str, str],
                reply_to: str, now_ns: int) -> list[Any]:  # fmt: skip
        """The RQ job hash as a flat list of fields and values. `now_ns` is by Redis' clock."""
        now = iso(now_ns)
        # As RQ writes it, but not compressed: RQ reads both, and packing costs more than the rest.
        data = b'["%b",null,[%b],{}]' % (TASK.encode(), job.model_dump_json().encode())
        return [
            *self._constant,
            "origin", queue,
            "damoscope_reply", reply_to,
            "description", f"detect {job.image.format} {job.image.width}x{job.image.height}",
            "created_at", now,
            "enqueued_at", now,
            "data", data,
            "meta", orjson.dumps(meta),
        ]  # fmt: skip

    def _constant_fields(self) -> list[Any]:
        """What all jobs have in common, as RQ itself would write it."""
        rq_job = Job.create(
            TASK,
            connection=Redis(),  # it wants one to keep, but sends nothing over it
            status=JobStatus.QUEUED,
            timeout=self._job_ttl_s,
            result_ttl=self._result_ttl_s,
            failure_ttl=self._result_ttl_s,
            retry=self._retry,
            serializer=JSONSerializer,
        )
        fields: list[Any] = []
        for name, value in rq_job.to_dict().items():
            # RQ reads an absent field as it reads an empty one.
            if value != "" and name not in ("created_at", "data", "description", "meta", "origin"):
                fields += (name, value)
        return fields

    async def state(self, job_id: str) -> JobState:
        """What has become of a job. Raises NotFound."""
        return (await self.owned_state(job_id))[0]

    async def owned_state(self, job_id: str) -> tuple[JobState, str]:
        """The same, and whose it is by `owner` in its metadata; empty for nobody's."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hmget(Job.key_for(job_id), "status", "meta", "damoscope_withdrawn")
        pipe.xrevrange(Result.get_key(job_id), count=1)
        answers = await pipe.execute(raise_on_error=False)
        for error in answers:
            if isinstance(error, Exception) and not _wrong_type(error):
                raise error
        record, stream = answers
        if isinstance(record, Exception) or record[0] is None:
            raise no_job(job_id)
        if record[2] is not None and record[0] == JobStatus.STARTED.encode():
            record[0] = JobStatus.CANCELED.encode()  # it will be
        owner = read_meta(record[1] or b"").get("owner", "")
        try:
            if isinstance(stream, Exception):
                raise ValueError("its results are of another type")
            return _state(job_id, record[0], record[1], stream[0][1] if stream else {}), owner
        except (ValueError, LookupError, TypeError, zlib.error) as error:
            log.warning("job %s: what Redis says of it cannot be read: %s", job_id, error)
            self._tally("job", 1)
            return JobState(job_id=job_id, status="failed", error=_UNREADABLE), owner


def no_job(job_id: str) -> errors.NotFound:
    """There is no such job, or it is none of the asker's, who cannot tell one from the other."""
    return errors.NotFound(f"no job {job_id}: it never existed, or its result was kept no longer")


def _wrong_type(error: Exception) -> bool:
    return isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")


#: What is said of an image that was taken back.
CANCELLED = JobError(code=errors.Cancelled.code, message="the image was withdrawn")
_UNREADABLE = JobError(
    code=errors.DamoscopeError.code,
    message="what is kept of this job cannot be read; the service's log says why",
)


def _state(job_id: str, status: bytes, meta: bytes | None, fields: dict[bytes, bytes]) -> JobState:
    trace_id = read_trace_id(meta or b"")
    kind = status.decode(errors="replace")
    if kind == JobStatus.FINISHED and b"return_value" in fields:
        result = orjson.loads(base64.b64decode(fields[b"return_value"]))
        return JobState(job_id=job_id, status="finished", trace_id=trace_id, result=result)
    if kind == JobStatus.CANCELED:
        return JobState(job_id=job_id, status="cancelled", trace_id=trace_id, error=CANCELLED)
    if kind in (JobStatus.FAILED, JobStatus.STOPPED):
        packed = fields.get(b"exc_string")
        text = unpack_exc(packed) if packed else kind
        error = error_from_exc_string(text)
        ended = "expired" if error.code == errors.JobExpired.code else "failed"
        return JobState(job_id=job_id, status=ended, trace_id=trace_id, error=error)
    running = "started" if kind == JobStatus.STARTED else "queued"
    return JobState(job_id=job_id, status=running, trace_id=trace_id)
