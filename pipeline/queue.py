"""The queue between frontend and worker: RQ's keys and formats, in a few round trips.

Jobs are ordinary RQ jobs with the JSON serializer, so that `rq info`, rq-dashboard,
`rq requeue` and a stock `rq worker` see and do the right thing. What differs from
RQ's own enqueueing and working is only the number of round trips: the steps that RQ
takes one command at a time (about forty for a job) are five Lua scripts, each atomic:

    enqueue -> take -> (heartbeat ...) -> finish        recover: what a dead worker held

A job that was taken is leased: the worker extends the lease while it lives, and any
worker puts jobs with an expired lease back in front of their queue. Only the holder of
the lease can finish a job, so the first result stands and every job is answered once.
"""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoScriptError
from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job, JobStatus, Retry
from rq.queue import Queue
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import utcformat
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from pipeline import errors
from pipeline.job import DetectJob, JobError, JobState, Priority
from pipeline.together import Together

#: The one function that a worker runs; jobs naming any other are refused.
TASK = "worker.task.detect"
#: Queue of each priority, in the order in which workers look at them.
QUEUES: dict[Priority, str] = {
    "high": "detections-high",
    "normal": "detections",
    "low": "detections-low",
}
#: Seconds for which a worker may stay silent before its jobs are given to others.
LEASE_S = 8
#: Frontends listen on `damoscope:replies:<instance>`.
REPLY_CHANNEL = "damoscope:replies:{}"
#: Idle workers wait on this list; every enqueue pushes one ring.
DOORBELL = "damoscope:doorbell"

_IMAGE_KEYS = "damoscope:image:"
#: What a worker took last, as a list of job ids.
_TAKEN_KEY = "damoscope:taken:{}"

QUEUE_KEYS = tuple(f"{Queue.redis_queue_namespace_prefix}{name}" for name in QUEUES.values())
#: The workers that take images. `rq:workers` has those of other queues, too: the watcher's.
WORKERS_KEY = WORKERS_BY_QUEUE_KEY % QUEUES["normal"]
_SCRIPTS = Path(__file__).parent / "scripts"
_LOST = errors.WorkerLost("every worker that took this image died over it")


def script(name: str) -> str:
    """Source of one of the Lua scripts in pipeline/scripts/."""
    return (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")


def image_key(job_id: str) -> str:
    """Redis key of a job's encoded image."""
    return f"{_IMAGE_KEYS}{job_id}"


def iso_now() -> str:
    """This moment in the format that RQ keeps times in."""
    return utcformat(datetime.now(UTC))


def exc_string(error: BaseException) -> str:
    """An error as RQ stores it: like the last line of its traceback."""
    return f"{type(error).__module__}.{type(error).__qualname__}: {error}"


def error_from_exc_string(text: str) -> JobError:
    """Read back what `exc_string`, or a stock worker's traceback, says of a failure."""
    last = text.strip().rpartition("\n")[2]
    name, _, message = last.partition(": ")
    kind = getattr(errors, name.rpartition(".")[2], None)
    if isinstance(kind, type) and issubclass(kind, errors.DamoscopeError):
        return JobError(code=kind.code, message=message)
    if "AbandonedJobError" in last:
        return JobError(code=_LOST.code, message=str(_LOST))
    return JobError(code=errors.InferenceFailed.code, message=last)


def reply(job_id: str, *, result: bytes | None = None, error: JobError | None = None) -> bytes:
    """A message on the reply channel: the job id, a space, `{"result": ...}` or `{"error": ...}`.

    `result` is a `DetectionResult` as JSON.
    """
    if error is not None:
        return job_id.encode() + b' {"error":' + error.model_dump_json().encode() + b"}"
    assert result is not None
    return job_id.encode() + b' {"result":' + result + b"}"


#: What stands before and after the detections of a result as JSON. Within a string of JSON every
#: quotation mark has a backslash before it, so that neither can be part of a label.
_BEFORE, _AFTER, _EACH = b'"detections":[', b'],"timings_ms":{', b'{"label":'


@dataclass(slots=True)
class Reply:
    """What has become of a job: either a result or an error."""

    #: A `DetectionResult` as plain data, but for its detections, which may be JSON still.
    result: dict[str, Any] | None = None
    #: How many there are.
    detections: int = 0
    error: JobError | None = None


def read_reply(message: bytes) -> tuple[str, Reply]:
    """Job id and content of what `reply` made.

    The frontend passes a result on: its detections, hundreds perhaps, stay the JSON that they are.
    """
    job_id, _, body = message.partition(b" ")
    start, end = body.find(_BEFORE) + len(_BEFORE), body.rfind(_AFTER)
    apart = len(_BEFORE) <= start <= end
    content = orjson.loads(body[:start] + body[end:] if apart else body)
    if "error" in content:
        return job_id.decode(), Reply(error=JobError(**content["error"]))
    result = content["result"]
    count = len(result["detections"])
    if apart:
        count = body.count(_EACH, start, end)
        result["detections"] = orjson.Fragment(b"[%b]" % body[start:end])
    return job_id.decode(), Reply(result, count)


def _pack_exc(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode())).decode()


class Producer:
    """The frontend's end: stores images, enqueues jobs, reads their state. All methods async."""

    def __init__(self, redis: AsyncRedis, *, queue_max: int, job_ttl_s: int, result_ttl_s: int,
                 attempts_max: int) -> None:  # fmt: skip
        self._redis = redis
        self._together = Together(redis)
        self._queue_max = queue_max
        self._job_ttl_s = job_ttl_s
        self._result_ttl_s = result_ttl_s
        self._retry = (
            Retry(max=attempts_max - 1, enqueue_at_front=True) if attempts_max > 1 else None
        )
        self._enqueue = redis.register_script(script("enqueue"))
        self._constant = {priority: self._constant_fields(priority) for priority in QUEUES}

    async def store_image(self, job_id: str, data: bytes) -> None:
        """Store the encoded image under the job's own key."""
        kept_s = self._job_ttl_s + self._result_ttl_s
        await self._together.run("SET", image_key(job_id), data, "EX", kept_s)

    async def discard_image(self, job_id: str) -> None:
        """Take back an image whose job was not enqueued."""
        await self._together.run("DEL", image_key(job_id))

    async def enqueue(self, job_id: str, job: DetectJob, *, priority: Priority,
                      meta: dict[str, str], reply_to: str) -> None:  # fmt: skip
        """Enqueue one job whose image is stored. Raises Unavailable when the queues are full.

        `meta` carries the trace context; `reply_to` is the channel the reply is published on.
        """
        fields = self._fields(job_id, job, priority, meta, reply_to)
        queue_key = f"{Queue.redis_queue_namespace_prefix}{QUEUES[priority]}"
        keys = [Job.key_for(job_id), queue_key, DOORBELL, Queue.redis_queues_keys, *QUEUE_KEYS]
        kept_s = self._job_ttl_s + self._result_ttl_s
        call = [len(keys), *keys, self._queue_max, kept_s, job_id, *fields]
        try:
            waiting = await self._together.run("EVALSHA", self._enqueue.sha, *call)
        except NoScriptError:  # Redis was restarted
            waiting = await self._together.run("EVAL", self._enqueue.script, *call)
        if waiting < 0:
            raise errors.Unavailable(
                f"the queue is full ({self._queue_max} images waiting); try again shortly"
            )

    def _fields(self, job_id: str, job: DetectJob, priority: Priority, meta: dict[str, str],
                reply_to: str) -> list[Any]:  # fmt: skip
        """The RQ job hash as a flat list of fields and values."""
        now = iso_now()
        # As RQ writes it, but not compressed: RQ reads both, and packing costs more than the rest.
        data = b'["%b",null,[%b],{}]' % (TASK.encode(), job.model_dump_json().encode())
        return [
            *self._constant[priority],
            "damoscope_reply", reply_to,
            "description", f"detect {job.image.format} {job.image.width}x{job.image.height}",
            "created_at", now,
            "enqueued_at", now,
            "data", data,
            "meta", orjson.dumps(meta),
        ]  # fmt: skip

    def _constant_fields(self, priority: Priority) -> list[Any]:
        """What all jobs of a priority have in common, as RQ itself would write it."""
        rq_job = Job.create(
            TASK,
            connection=Redis(),  # it wants one to keep, but sends nothing over it
            origin=QUEUES[priority],
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
            if value != "" and name not in ("created_at", "data", "description", "meta"):
                fields += (name, value)
        return fields

    async def state(self, job_id: str) -> JobState:
        """What has become of a job. Raises NotFound."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hmget(Job.key_for(job_id), "status", "meta")
        pipe.xrevrange(Result.get_key(job_id), count=1)
        (status, meta), stream = await pipe.execute()
        if status is None:
            raise errors.NotFound(
                f"no job {job_id}: it never existed, or its result was kept no longer"
            )
        return _state(job_id, status.decode(), meta, stream[0][1] if stream else {})


def _state(job_id: str, status: str, meta: bytes | None, fields: dict[bytes, bytes]) -> JobState:
    trace_id = None
    if parent := _meta(meta or b"").get("traceparent"):
        trace_id = str(parent).split("-")[1]
    if status == JobStatus.FINISHED and b"return_value" in fields:
        result = orjson.loads(base64.b64decode(fields[b"return_value"]))
        return JobState(job_id=job_id, status="finished", trace_id=trace_id, result=result)
    if status in (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED):
        packed = fields.get(b"exc_string")
        text = zlib.decompress(base64.b64decode(packed)).decode() if packed else status
        error = error_from_exc_string(text)
        kind = "expired" if error.code == errors.JobExpired.code else "failed"
        return JobState(job_id=job_id, status=kind, trace_id=trace_id, error=error)
    running = "started" if status == JobStatus.STARTED else "queued"
    return JobState(job_id=job_id, status=running, trace_id=trace_id)


@dataclass(slots=True)
class Taken:
    """A job in this worker's hands."""

    job_id: str
    execution_id: str
    #: Name of the queue that it came from.
    queue: str
    meta: dict[str, Any]
    #: Unix time in nanoseconds.
    enqueued_ns: int
    taken_ns: int
    #: 1 for the first try.
    attempt: int
    reply_to: str
    #: None when the job is not one of ours; `refusal` then says why.
    job: DetectJob | None
    refusal: str = ""
    #: The encoded image, or None when its key has expired.
    image: bytes | None = None
    #: Nothing else was waiting or being worked on, by any worker.
    alone: bool = False


#: Keys and arguments of a script.
Call = tuple[list[Any], list[Any]]


class Consumer:
    """A worker's end: takes, leases and finishes jobs.

    Methods block. Any thread may call them, but only one at a time may take.
    """

    def __init__(self, redis: Redis, worker_name: str, *, result_ttl_s: int) -> None:
        self._redis = redis
        self._worker = worker_name
        self._worker_key = f"{RQ_KEY_PREFIX}:worker:{worker_name}"
        self._taken_key = _TAKEN_KEY.format(worker_name)
        self._result_ttl_s = result_ttl_s
        self._take = redis.register_script(script("take"))
        self._finish = redis.register_script(script("finish"))
        self._heartbeat = redis.register_script(script("heartbeat"))
        self._recover = redis.register_script(script("recover"))

    def wait(self, timeout_s: float) -> None:
        """Return when something may be waiting, after `timeout_s` at the latest."""
        self._redis.blpop([DOORBELL], timeout=timeout_s)

    def take(self, most: int, *, ahead: bool = False) -> list[Taken]:
        """Take up to `most` jobs and their images; `ahead` leaves some for idle workers."""
        keys = [DOORBELL, self._worker_key, WORKERS_KEY, self._taken_key, *QUEUE_KEYS]
        args = [RQ_KEY_PREFIX, self._worker, iso_now(), LEASE_S, most, int(ahead),
                *(uuid4().hex for _ in range(most))]  # fmt: skip
        try:
            entries, images = self._take_with_images(keys, args)
        except NoScriptError:  # Redis was restarted
            self._redis.script_load(self._take.script)
            entries, images = self._take_with_images(keys, args)
        taken_ns = time.time_ns()
        return [_taken(*pair, taken_ns) for pair in zip(entries, images, strict=True)]

    def _take_with_images(self, keys: list[str], args: list[Any]) -> list[list[Any]]:
        # The images do not pass through the script: Redis' Lua reads every byte of a text one by
        # one, to hash it, which is 0.4 ms for a photo of 250 kB.
        pipe = self._redis.pipeline(transaction=False)
        pipe.evalsha(self._take.sha, len(keys), *keys, *args)
        pipe.sort(self._taken_key, by="nosort", get=[f"{_IMAGE_KEYS}*"])
        return pipe.execute()

    def heartbeat(self, jobs: Iterable[Taken]) -> None:
        """Extend the lease of the jobs in hand."""
        held = [part for job in jobs for part in (job.queue, job.job_id, job.execution_id)]
        if held:
            self._heartbeat(args=[RQ_KEY_PREFIX, LEASE_S, *held])

    def recover(self) -> tuple[int, int]:
        """Put back, or fail, what dead workers held. Returns (put back, failed)."""
        error = JobError(code=_LOST.code, message=str(_LOST))
        message = b'{"error":' + error.model_dump_json().encode() + b"}"
        back, failed = self._recover(
            keys=[DOORBELL, *QUEUE_KEYS],
            args=[RQ_KEY_PREFIX, iso_now(), self._result_ttl_s, _pack_exc(exc_string(_LOST)),
                  message],
        )  # fmt: skip
        return int(back), int(failed)

    def finish(self, outcomes: Sequence[tuple[Taken, bytes | errors.DamoscopeError]],
               work_s: float) -> list[bool]:  # fmt: skip
        """Store results (as JSON) or errors, and reply, in one round trip.

        `work_s` is the time the batch took. Returns for each whether it was stored; False
        means that the lease was lost and another worker answers.
        """
        calls = [self._call(job, outcome, work_s / len(outcomes)) for job, outcome in outcomes]
        if len(calls) == 1:
            return [self._finish(*calls[0]) == 1]
        try:
            return self._finish_all(calls)
        except NoScriptError:  # Redis was restarted; all were refused
            self._redis.script_load(self._finish.script)
            return self._finish_all(calls)

    def _finish_all(self, calls: Sequence[Call]) -> list[bool]:
        # Not through the Script object: it would ask each time whether Redis has the script.
        pipe = self._redis.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self._finish.sha, len(keys), *keys, *args)
        return [stored == 1 for stored in pipe.execute()]

    def _call(self, job: Taken, outcome: bytes | errors.DamoscopeError, work_s: float) -> Call:
        """Keys and arguments of the script that stores this outcome."""
        failed = isinstance(outcome, errors.DamoscopeError)
        if isinstance(outcome, errors.DamoscopeError):
            registry = f"{RQ_KEY_PREFIX}:failed:{job.queue}"
            message = reply(job.job_id, error=JobError(code=outcome.code, message=str(outcome)))
            kind, value = Result.Type.FAILED, ("exc_string", _pack_exc(exc_string(outcome)))
        else:
            registry = f"{RQ_KEY_PREFIX}:finished:{job.queue}"
            message = reply(job.job_id, result=outcome)
            kind, value = (
                Result.Type.SUCCESSFUL,
                ("return_value", base64.b64encode(outcome).decode()),
            )
        keys = [f"{RQ_KEY_PREFIX}:wip:{job.queue}", registry, Job.key_for(job.job_id),
                Result.get_key(job.job_id), self._worker_key, image_key(job.job_id)]  # fmt: skip
        args = [RQ_KEY_PREFIX, job.job_id, job.execution_id, self._worker,
                "failed" if failed else "finished", iso_now(), self._result_ttl_s,
                f"{work_s:.6f}", job.reply_to, message,
                "type", kind.value, "worker_name", self._worker,
                "execution_id", job.execution_id,
                "execution_started_at", job.taken_ns / 1e9,
                "execution_ended_at", time.time(), *value]  # fmt: skip
        return keys, args


def _taken(entry: list[Any], image: bytes | None, taken_ns: int) -> Taken:
    job_id, execution_id, queue_key, data, meta, enqueued_at, before, reply_to, alone = entry
    job, refusal = _parse(data)
    return Taken(
        job_id=job_id.decode(),
        execution_id=execution_id.decode(),
        queue=queue_key.decode().removeprefix(Queue.redis_queue_namespace_prefix),
        meta=_meta(meta),
        enqueued_ns=_enqueued_ns(enqueued_at) or taken_ns,
        taken_ns=taken_ns,
        attempt=int(before) + 1,
        alone=alone == 1,
        image=image,
        reply_to=reply_to.decode(),
        job=job,
        refusal=refusal,
    )


def _meta(text: bytes) -> dict[str, Any]:
    """A job's metadata; empty where it cannot be read, so that it costs no other job anything."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _enqueued_ns(text: bytes) -> int:
    try:
        return _unix_ns(datetime.fromisoformat(text.decode()))
    except ValueError:  # absent, or not a time
        return 0


def _unix_ns(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1e6) * 1000


def _parse(data: bytes) -> tuple[DetectJob | None, str]:
    """The job of an RQ payload, or why it is refused. Nothing is ever unpickled or imported."""
    try:
        function, _, args, _ = orjson.loads(_unpacked(data))
        if function != TASK:
            return None, f"this queue takes only {TASK}, not {function}"
        return DetectJob.model_validate(args[0]), ""
    except (ValueError, LookupError, TypeError) as error:
        return None, f"not a job of ours: {error}"


def _unpacked(data: bytes) -> bytes:
    """A payload as it is, or compressed by RQ: a job that was changed by RQ's own tools."""
    try:
        return zlib.decompress(data)
    except zlib.error:
        return data


def taken_from_rq(job: Job, payload: Any, image: bytes | None, reply_to: bytes | None) -> Taken:
    """The same for a job that a stock RQ worker took."""
    try:
        detect_job, refusal = DetectJob.model_validate(payload), ""
    except ValueError as error:
        detect_job, refusal = None, f"not a job of ours: {error}"
    now_ns = time.time_ns()
    return Taken(
        job_id=job.id,
        execution_id="",
        queue=job.origin,
        meta=job.meta,
        enqueued_ns=_unix_ns(job.enqueued_at) if job.enqueued_at else now_ns,
        taken_ns=now_ns,
        attempt=(job.number_of_retries or 0) + 1,
        reply_to=(reply_to or b"").decode(),
        job=detect_job,
        refusal=refusal,
        image=image,
    )
