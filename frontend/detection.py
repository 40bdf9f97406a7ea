"""One image through the frontend: upload, enqueue, wait, answer. API and pages both come here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import uuid4

import orjson
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import Span, SpanKind, set_span_in_context
from redis.exceptions import RedisError

from frontend.clients import Clients
from frontend.identity.principal import ANONYMOUS, Principal
from frontend.limits import Limiter
from frontend.replies import Replies, read_state
from frontend.status import Status
from frontend.withdrawals import Withdrawals
from pipeline import errors
from pipeline.complaints import complaints
from pipeline.connection import explain
from pipeline.images import inspect
from pipeline.job import DetectJob, DetectOptions, ImageInfo, JobState, Priority
from pipeline.queue.keys import QUEUES
from pipeline.queue.messages import Reply
from pipeline.queue.producer import Producer, no_job
from pipeline.settings import Settings
from telemetry import catalogue, logs, spans
from telemetry.context import inject, trace_id
from telemetry.setup import Telemetry

#: Seconds within which a result is wanted where a client does not say.
TIMEOUT_S = 30.0


@dataclass(slots=True)
class ImageRequest:
    """One image that a client sent, with the SERVER span of its request."""

    span: Span
    #: `api` or `ui`.
    route: str
    #: Unix nanoseconds of the first byte.
    received_ns: int
    #: Reads the encoded image; raises DamoscopeError when it is too large or cut off.
    read: Callable[[], Awaitable[bytes]]
    options: DetectOptions
    #: Called when the encoded image is no longer kept here.
    stored: Callable[[], None] = lambda: None
    #: By what the client is limited and counted: an address, or a name.
    client: str = ""
    #: Who the client is, and whose the job will be.
    who: Principal = ANONYMOUS
    priority: Priority = "normal"
    #: Seconds from the first byte on within which the result is wanted: the job's deadline. None
    #: where nobody waits and none was named.
    timeout_s: float | None = TIMEOUT_S
    #: The first byte by `time.monotonic`.
    began_s: float = field(default_factory=time.monotonic)
    #: Returns once the client has hung up, and not before.
    gone: Callable[[], Awaitable[object]] | None = None
    #: Who sends the answer says by `delivered` whether it went out. Otherwise the result counts as
    #: delivered once it is there.
    sends: bool = False
    #: Set once the job exists.
    job_id: str | None = None
    #: The job's way into the queue, which ends whatever becomes of the request.
    enqueuing: asyncio.Task[None] | None = None
    #: How it ended, once that is counted.
    outcome: str | None = None
    #: Whether a worker has answered, be it with an error.
    answered: bool = False

    @property
    def left_s(self) -> float | None:
        """Seconds that are left of `timeout_s`."""
        if self.timeout_s is None:
            return None
        return max(0.0, self.timeout_s - (time.monotonic() - self.began_s))

    @property
    def trace_id(self) -> str:
        return trace_id(self.span)


T = TypeVar("T")
#: Files above this are inspected in a thread.
LARGE_BYTES = 256 * 1024

log = logging.getLogger("damoscope.frontend")


class DetectionService:
    """The service behind `POST /api/v1/detect` and the Detect page."""

    def __init__(self, settings: Settings, producer: Producer, replies: Replies, status: Status,
                 limiter: Limiter, clients: Clients, telemetry: Telemetry) -> None:  # fmt: skip
        self._settings = settings
        self._producer = producer
        self._replies = replies
        self._status = status
        self._limiter = limiter
        self._withdrawals = Withdrawals(producer)
        self._clients = clients
        self._tracer = telemetry.tracer
        self._instruments = telemetry.instruments
        self._active = 0
        self._stopping = False

    async def detect(self, request: ImageRequest) -> bytes:
        """Run one image to its result, a DetectionResult as JSON: the worker made it, and it is
        passed on. Raises DamoscopeError; the span and metrics say so too."""
        result = await self._counted(request, self._to_result(request))
        assert result is not None
        return result

    async def detect_within(self, request: ImageRequest, wait_s: float) -> bytes | None:
        """The same, if there is a result `wait_s` after the first byte; else None, and the job goes
        on."""
        return await self._counted(request, self._to_result(request, wait_s))

    async def submit(self, request: ImageRequest) -> str:
        """Enqueue one image and return its job id without waiting."""
        return await self._counted(request, self._to_queue(request, reply_to=""))

    def delivered(self, request: ImageRequest, arrived: bool) -> None:
        """The answer of a request that `sends` has gone out, or its client has gone before: then it
        is no success, and nobody knows of a job that was accepted."""
        if not arrived and request.job_id and not request.answered:
            self._withdrawals.later(request.job_id, request.enqueuing)
        self._count(request, "ok" if arrived else errors.Cancelled.outcome)

    async def withdraw(self, job_id: str, who: Principal) -> JobState:
        """Take an image back, for its owner. Raises NotFound, AlreadyDone or Unavailable."""
        state = await self.state(job_id, who)
        try:
            where = await self._withdrawals.now(job_id, tell=True)
            if where == "ended":
                raise errors.AlreadyDone(f"job {job_id} is done: its image cannot be withdrawn")
            if where == "gone":
                raise no_job(job_id)
            return await self._producer.state(job_id) if state.status != "cancelled" else state
        except RedisError as error:
            raise self._away(error) from error
        except TimeoutError:
            raise errors.Unavailable("Redis does not answer; try again shortly") from None

    @property
    def in_hand(self) -> int:
        """Images whose clients wait for an answer, or are sending them."""
        return self._active

    @property
    def stopping(self) -> bool:
        """Whether images are taken no more."""
        return self._stopping

    def take_no_more(self) -> None:
        """Refuse further images; those in hand go on."""
        self._stopping = True

    def stop(self) -> None:
        """Take no more images, and answer who waits: their images stay in the queue."""
        self.take_no_more()
        self._replies.abandon(errors.Unavailable("the service stops; the image stays queued"))

    async def refuse(self, request: ImageRequest, error: errors.DamoscopeError) -> None:
        """Count a request that was refused before it came here."""

        async def refused() -> None:
            raise error

        with contextlib.suppress(errors.DamoscopeError):
            await self._counted(request, refused())

    async def state(self, job_id: str, who: Principal) -> JobState:
        """What has become of a job, for its owner. Raises NotFound or Unavailable."""
        try:
            state, owner = await self._producer.owned_state(job_id)
        except RedisError as error:
            raise self._away(error) from error

        if owner and owner != who.owner and not who.may("admin"):
            raise no_job(job_id)
        return state

    def observe(self) -> None:
        """Report how many requests are in flight."""

        def active(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(self._active)]

        self._instruments.observe(catalogue.REQUESTS_ACTIVE, active)

    def _away(self, error: RedisError) -> errors.Unavailable:
        """What clients are told of Redis. What it said itself is for the log."""
        complaints.of_redis(log, error)
        return errors.Unavailable(f"{explain(error)}; try again shortly")

    async def _counted(self, request: ImageRequest, work: Awaitable[T]) -> T:
        """Count and time a request, whatever becomes of it, inside its span."""
        self._active += 1
        try:
            result = await work
        except errors.DamoscopeError as error:
            spans.fail(request.span, error)
            if not request.answered:  # the worker has said why
                logs.refusal(log, set_span_in_context(request.span), error)
            self._count(request, error.outcome)
            raise
        except asyncio.CancelledError:  # by who asked for it, or because the service stops
            kind = errors.Unavailable if self._stopping else errors.Cancelled
            self._count(request, kind.outcome)
            raise
        except BaseException:
            self._count(request, "failed")
            raise
        if request.sends:
            _describe(request, "ok")  # the span ends with the answer's last byte
        else:
            self._count(request, "ok")
        return result

    def _count(self, request: ImageRequest, outcome: str) -> None:
        """How a request ended, once."""
        if request.outcome is not None:
            return
        request.outcome = outcome
        here = set_span_in_context(request.span)
        labels = {"outcome": outcome, "route": request.route}
        if request.span.is_recording():
            _describe(request, outcome)
        duration_s = (time.time_ns() - request.received_ns) / 1e9
        self._active -= 1
        self._instruments.add(catalogue.REQUESTS, 1, labels, context=here)
        if client := self._clients.name(request.client, known=request.who.known):
            self._instruments.add(catalogue.CLIENT_REQUESTS, 1, {"client": client}, context=here)
        self._instruments.record(catalogue.REQUEST_DURATION, duration_s, labels, context=here)

    async def _to_result(self, request: ImageRequest, wait_s: float | None = None) -> bytes | None:
        job_id = uuid4().hex
        watch = None
        try:
            async with asyncio.timeout(request.left_s):
                future = self._replies.expect(job_id)
                await self._to_queue(request, reply_to=self._replies.channel, job_id=job_id)
                self._replies.enqueued(job_id)
                if request.gone is not None:
                    watch = asyncio.create_task(_hung_up(request.gone, future))
                if wait_s is not None:
                    left_s = wait_s - (time.monotonic() - request.began_s)
                    if not (await asyncio.wait([future], timeout=max(0.0, left_s)))[0]:
                        return None
                reply = await future
        except TimeoutError:
            reply = await self._too_late(request, job_id)
        except (errors.Cancelled, asyncio.CancelledError):
            self._withdrawals.later(job_id, request.enqueuing)
            raise
        finally:
            self._replies.forget(job_id)
            if watch is not None:
                watch.cancel()
        return self._answer(request, reply)

    async def _too_late(self, request: ImageRequest, job_id: str) -> Reply:
        """Nobody waits any longer: the image is withdrawn. Raises DetectionTimeout, unless the
        reply came at the same moment."""
        if request.enqueuing is None:
            raise errors.DetectionTimeout(
                f"the upload was not complete within {request.timeout_s:g} s"
            )
        what = "no worker begins the image any more"  # which is past its deadline
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            where = await self._withdrawals.now(job_id, request.enqueuing)
            if where == "ended":
                return read_state(await self._producer.state(job_id))
            if where == "started":
                what = "the image was withdrawn, and what comes of it is dropped"
            else:
                what = "the image was withdrawn"
        raise errors.DetectionTimeout(f"no result within {request.timeout_s:g} s; {what}")

    def _answer(self, request: ImageRequest, reply: Reply) -> bytes:
        request.answered = True
        if reply.error is not None:
            raise errors.from_code(reply.error.code, reply.error.message)
        assert reply.result is not None
        # Only here is it known how long the whole request took.
        total_ms = (time.time_ns() - request.received_ns) / 1e6
        reply.result["timings_ms"]["total"] = round(total_ms, 3)
        request.span.set_attribute(catalogue.ATTR_DETECTIONS, reply.detections)
        return orjson.dumps(reply.result)

    async def _to_queue(self, request: ImageRequest, *, reply_to: str, job_id: str = "") -> str:
        """Stages `upload` and `enqueue`. Returns the job id."""
        reason = "the service stops" if self._stopping else self._status.snapshot.not_ready
        if reason:
            raise errors.Unavailable(f"{reason}; try again shortly")
        job_id = job_id or uuid4().hex
        here = set_span_in_context(request.span)
        try:
            await self._clients.prepare()
            await self._limiter.check(request.client)
            info, upload_ms = await self._upload(request, job_id, here)
            # A task, so that it is over before the image is withdrawn, should the client go.
            request.enqueuing = asyncio.create_task(
                self._enqueue(request, job_id, info, upload_ms, reply_to, here)
            )
            await asyncio.shield(request.enqueuing)
        except RedisError as error:
            raise self._away(error) from error
        return job_id

    async def _upload(
        self, request: ImageRequest, job_id: str, here: Context
    ) -> tuple[ImageInfo, float]:
        """From the first byte read until the image is checked and stored."""
        attributes: dict[str, str | int] = {}
        failure: BaseException | None = None
        try:
            data = await request.read()
            info = await self._inspect(data)
            attributes = _image_attributes(info)
            await self._producer.store_image(job_id, data)
            del data
            request.stored()
        except BaseException as error:
            failure = error
            raise
        finally:
            ended_ns = time.time_ns()
            spans.record(
                self._tracer,
                catalogue.SPAN_UPLOAD,
                here,
                request.received_ns,
                ended_ns,
                attributes=attributes,
                error=failure,
            )
            duration_ms = (ended_ns - request.received_ns) / 1e6
            self._instruments.record(
                catalogue.STAGE_DURATION, duration_ms / 1e3, {"stage": "upload"}, context=here
            )
        self._instruments.record(
            catalogue.IMAGE_SIZE, info.bytes, {"format": info.format}, context=here
        )
        return info, round(duration_ms, 3)

    async def _inspect(self, data: bytes) -> ImageInfo:
        """What the image is; of a large file off the event loop, since it takes milliseconds."""
        look = partial(
            inspect,
            data,
            max_bytes=self._settings.max_upload_bytes,
            max_pixels=self._settings.max_pixels,
        )
        return await asyncio.to_thread(look) if len(data) > LARGE_BYTES else look()

    async def _enqueue(self, request: ImageRequest, job_id: str, info: ImageInfo, upload_ms: float,
                       reply_to: str, here: Context) -> None:  # fmt: skip
        job = DetectJob(
            options=request.options,
            image=info,
            upload_ms=upload_ms,
        )
        span = self._tracer.start_span(
            catalogue.SPAN_ENQUEUE,
            here,
            SpanKind.PRODUCER,
            {
                catalogue.ATTR_MESSAGING_SYSTEM: "rq",
                catalogue.ATTR_MESSAGING_OPERATION_NAME: "enqueue",
                catalogue.ATTR_MESSAGING_OPERATION_TYPE: "send",
                catalogue.ATTR_MESSAGING_DESTINATION: QUEUES[request.priority],
                catalogue.ATTR_MESSAGING_MESSAGE_ID: job_id,
            },
        )
        try:
            await self._producer.enqueue(
                job_id,
                job,
                priority=request.priority,
                meta=_meta(span, here, request.who),
                reply_to=reply_to,
                ttl_s=request.left_s,
            )
        except errors.DamoscopeError as error:
            spans.fail(span, error, record_exception=True)
            await self._producer.discard_image(job_id)
            raise
        except RedisError as error:
            # In words of ours: Redis' own may hold keys and commands, and spans are shown to many.
            away = self._away(error)
            spans.fail(span, away, record_exception=True)
            raise away from error
        else:
            request.job_id = job_id
        finally:
            span.end()


def _describe(request: ImageRequest, outcome: str) -> None:
    """Say on a request's span how it ended."""
    request.span.set_attributes(
        {catalogue.ATTR_OUTCOME: outcome, catalogue.ATTR_ROUTE: request.route}
        | ({catalogue.ATTR_JOB_ID: request.job_id} if request.job_id else {})
        | ({catalogue.ATTR_ENDUSER_ID: request.who.name} if request.who.known else {})
    )


async def _hung_up(gone: Callable[[], Awaitable[object]], future: asyncio.Future[Reply]) -> None:
    """Once the client has hung up, nobody waits for the reply."""
    await gone()
    if not future.done():
        future.set_exception(errors.Cancelled("the client went away; the image was withdrawn"))


def _meta(span: Span, here: Context, who: Principal) -> dict[str, str]:
    """The trace context that a job carries, by what name its trace is asked for, and its owner."""
    known = {"trace_id": trace_id(span)} | ({"owner": who.owner} if who.owner else {})
    return known | inject(set_span_in_context(span, here))


def _image_attributes(info: ImageInfo) -> dict[str, str | int]:
    return {
        catalogue.ATTR_IMAGE_FORMAT: info.format,
        catalogue.ATTR_IMAGE_BYTES: info.bytes,
        catalogue.ATTR_IMAGE_WIDTH: info.width,
        catalogue.ATTR_IMAGE_HEIGHT: info.height,
    }
