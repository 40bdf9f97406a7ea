"""One image through the frontend: upload, enqueue, wait, answer. API and pages both come here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from uuid import uuid4

import orjson
from opentelemetry.trace import set_span_in_context
from redis.exceptions import RedisError

from frontend.clients import Clients
from frontend.identity.principal import Principal
from frontend.image_request import ImageRequest
from frontend.intake import ImageIntake, away
from frontend.limits import Limiter
from frontend.outcomes import Outcomes
from frontend.replies import Replies, read_state
from frontend.status import Status
from frontend.turns import Turns
from frontend.withdrawals import Withdrawals
from pipeline import errors
from pipeline.job import JobState
from pipeline.queue.messages import Reply
from pipeline.queue.producer import Producer, no_job
from pipeline.settings import Settings
from telemetry import catalogue
from telemetry.setup import Telemetry


class DetectionService:
    """The service behind `POST /api/v1/detect` and the Detect page."""

    def __init__(self, settings: Settings, producer: Producer, replies: Replies, status: Status,
                 limiter: Limiter, clients: Clients, telemetry: Telemetry,
                 turns: Turns) -> None:  # fmt: skip
        self._producer = producer
        self._replies = replies
        self._status = status
        self._limiter = limiter
        self._withdrawals = Withdrawals(producer)
        self._clients = clients
        self._intake = ImageIntake(settings, producer, telemetry)
        self._outcomes = Outcomes(telemetry.instruments, clients, turns)

    async def detect(self, request: ImageRequest) -> bytes:
        """Run one image to its result, a DetectionResult as JSON: the worker made it, and it is
        passed on. Raises DamoscopeError; the span and metrics say so too."""
        result = await self._outcomes.of(request, self._to_result(request))
        assert result is not None
        return result

    async def detect_within(self, request: ImageRequest, wait_s: float) -> bytes | None:
        """The same, if there is a result `wait_s` after the first byte; else None, and the job goes
        on."""
        return await self._outcomes.of(request, self._to_result(request, wait_s))

    async def submit(self, request: ImageRequest) -> str:
        """Enqueue one image and return its job id without waiting."""
        return await self._outcomes.of(request, self._to_queue(request, reply_to=""))

    def delivered(self, request: ImageRequest, arrived: bool) -> None:
        """The answer of a request that `sends` has gone out, or its client has gone before: then it
        is no success, and nobody knows of a job that was accepted."""
        if not arrived and request.job_id and not request.answered:
            self._given_up(request, request.job_id)
        self._outcomes.count(request, "ok" if arrived else errors.Cancelled.outcome)

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
            raise away(error) from error
        except TimeoutError:
            raise errors.Unavailable("Redis does not answer; try again shortly") from None

    @property
    def in_hand(self) -> int:
        """Images whose clients wait for an answer, or are sending them."""
        return self._outcomes.active

    @property
    def stopping(self) -> bool:
        """Whether images are taken no more."""
        return self._outcomes.stopping

    def take_no_more(self) -> None:
        """Refuse further images; those in hand go on."""
        self._outcomes.stopping = True

    def stop(self) -> None:
        """Take no more images, and answer who waits: their images stay in the queue."""
        self.take_no_more()
        self._replies.abandon(errors.Unavailable("the service stops; the image stays queued"))

    async def refuse(self, request: ImageRequest, error: errors.DamoscopeError) -> None:
        """Count a request that was refused before it came here."""

        async def refused() -> None:
            raise error

        with contextlib.suppress(errors.DamoscopeError):
            await self._outcomes.of(request, refused())

    def gone(self, request: ImageRequest) -> None:
        """Count a request whose client hung up before anything was begun for it."""
        self._outcomes.gone(request)

    async def state(self, job_id: str, who: Principal) -> JobState:
        """What has become of a job, for its owner. Raises NotFound or Unavailable."""
        try:
            state, owner = await self._producer.owned_state(job_id)
        except RedisError as error:
            raise away(error) from error

        if owner and owner != who.owner and not who.may("admin"):
            raise no_job(job_id)
        return state

    def observe(self) -> None:
        """Report how many requests are in flight."""
        self._outcomes.observe()

    async def _to_result(self, request: ImageRequest, wait_s: float | None = None) -> bytes | None:
        job_id = uuid4().hex
        future = self._replies.expect(job_id)
        watch = None
        try:
            async with asyncio.timeout(request.left_s):
                known_as = await self._to_queue(
                    request, reply_to=self._replies.channel, job_id=job_id
                )
                if request.resent:
                    self._replies.forget(job_id, future)
                    job_id, future = known_as, self._replies.expect(known_as)
                    with contextlib.suppress(RedisError, OSError):  # it will be looked for again
                        await self._replies.look(job_id)
                self._replies.enqueued(job_id)
                if request.gone is not None:
                    watch = asyncio.create_task(_hung_up(request, future))
                if wait_s is not None:
                    left_s = wait_s - (time.monotonic() - request.began_s)
                    if not (await asyncio.wait([future], timeout=max(0.0, left_s)))[0]:
                        return None
                reply = await future
        except TimeoutError:
            reply = await self._too_late(request, job_id)
        except (errors.Cancelled, asyncio.CancelledError):
            self._given_up(request, job_id)
            raise
        finally:
            self._replies.forget(job_id, future)
            if watch is not None:
                watch.cancel()
        return self._answer(request, reply)

    def _given_up(self, request: ImageRequest, job_id: str) -> None:
        """Nobody waits for a job: its image is withdrawn, unless its client may send it again, and
        then have the answer."""
        if request.enqueuing is None:  # there is no job yet, to which it could be sent again
            self._withdrawals.later(job_id, request.storing)
        elif request.once is None:
            self._withdrawals.later(job_id, request.enqueuing)

    async def _too_late(self, request: ImageRequest, job_id: str) -> Reply:
        """Nobody waits any longer: the image is withdrawn. Raises DetectionTimeout, unless the
        reply came at the same moment."""
        if request.resent:
            raise errors.DetectionTimeout(
                f"no result within {request.timeout_s:g} s; the image, which came before with this "
                "Idempotency-Key, goes on until its own time is over"
            )
        if request.enqueuing is None:
            self._withdrawals.later(job_id, request.storing)
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
        request.span.set_attribute(catalogue.ATTR_DETECTIONS, reply.detections)
        if request.resent:  # the times are the first request's
            return orjson.dumps(reply.result)
        # Only here is it known how long the whole request took.
        total_ms = (time.time_ns() - request.received_ns) / 1e6
        timings_ms = reply.result["timings_ms"] | {"total": round(total_ms, 3)}
        return orjson.dumps(reply.result | {"timings_ms": timings_ms})

    async def _to_queue(self, request: ImageRequest, *, reply_to: str, job_id: str = "") -> str:
        """Stages `upload` and `enqueue`. Returns the job id: another one than the given, where the
        request is `resent`."""
        if self._outcomes.stopping:
            raise errors.Unavailable("the service stops; try again shortly")
        self._status.snapshot.check(request.pool)
        job_id = job_id or uuid4().hex
        here = set_span_in_context(request.span)
        try:
            await self._clients.prepare()
            await self._limiter.check(request.client)
            info, upload_ms = await self._intake.upload(request, job_id, here)
            if request.resent:
                assert request.job_id
                return request.job_id
            # A task, so that it is over before the image is withdrawn, should the client go.
            request.enqueuing = asyncio.create_task(
                self._intake.enqueue(request, job_id, info, upload_ms, reply_to, here)
            )
            await asyncio.shield(request.enqueuing)
        except RedisError as error:
            raise away(error) from error
        return request.job_id or job_id


async def _hung_up(request: ImageRequest, future: asyncio.Future[Reply]) -> None:
    """Once the client has hung up, nobody waits for the reply."""
    assert request.gone is not None
    await request.gone()
    if not future.done():
        what = "was withdrawn" if request.once is None else "may be sent again"
        future.set_exception(errors.Cancelled(f"the client went away; the image {what}"))
