"""Stages `upload` and `enqueue` of an image, each with its span."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, set_span_in_context
from redis.exceptions import RedisError

from frontend.identity.principal import Principal
from frontend.image_request import ImageRequest
from frontend.resends import Resends
from pipeline import errors
from pipeline.complaints import complaints
from pipeline.connection import explain
from pipeline.images import inspect
from pipeline.job import DetectJob, ImageInfo
from pipeline.queue.producer import Producer
from pipeline.settings import Settings
from pipeline.tiles import grid_for
from telemetry import catalogue, spans
from telemetry.context import inject, trace_id
from telemetry.setup import Telemetry

log = logging.getLogger("damoscope.frontend")

#: Files above this are inspected in a thread.
LARGE_BYTES = 256 * 1024


class ImageIntake:
    """What happens to an image in the frontend before a worker takes it."""

    def __init__(self, settings: Settings, producer: Producer, telemetry: Telemetry) -> None:
        self._settings, self._producer = settings, producer
        self._resends = Resends(producer)
        self._tracer, self._instruments = telemetry.tracer, telemetry.instruments

    async def upload(
        self, request: ImageRequest, job_id: str, here: Context
    ) -> tuple[ImageInfo, float]:
        """From the first byte read until the image is checked and stored, or is known from
        before."""
        attributes: dict[str, str | int] = {}
        failure: BaseException | None = None
        try:
            data = await request.read()
            info = await self._inspect(data)
            attributes = _image_attributes(info)
            grid = grid_for(
                request.options.tiles, info.width, info.height, self._settings.tiles_max
            )
            if request.idempotency_key is not None:
                await self._resends.recognise(request, data, request.idempotency_key)
            if not request.resent:
                # A task, so that it is over before the image is removed, should its time end.
                request.storing = asyncio.create_task(self._producer.store_image(job_id, data))
                await asyncio.shield(request.storing)
            if request.options.tiles is not None:  # from here on it is the image's own
                tiles = None if grid is None else str(grid)
                request.options = request.options.model_copy(update={"tiles": tiles})
            del data
            request.stored()
        except BaseException as error:
            failure = error
            raise
        finally:
            if request.image_host:
                attributes[catalogue.ATTR_IMAGE_HOST] = request.image_host
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

    async def enqueue(self, request: ImageRequest, job_id: str, info: ImageInfo, upload_ms: float,
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
                catalogue.ATTR_MESSAGING_DESTINATION: request.pool.queues[request.priority],
                catalogue.ATTR_MESSAGING_MESSAGE_ID: job_id,
            },
        )
        try:
            first = await self._producer.enqueue(
                job_id,
                job,
                priority=request.priority,
                meta=_meta(span, here, request.who),
                reply_to=reply_to,
                ttl_s=request.left_s,
                client=request.client,
                once=request.once,
                pool=request.pool,
            )
            if first is not None:  # the same, at the same time
                self._resends.follow(request, first)
                await self._producer.discard_image(job_id)
        except errors.DamoscopeError as error:
            spans.fail(span, error, record_exception=True)
            await self._producer.discard_image(job_id)
            raise
        except RedisError as error:
            # In words of ours: Redis' own may hold keys and commands, and spans are shown to many.
            unavailable = away(error)
            spans.fail(span, unavailable, record_exception=True)
            raise unavailable from error
        else:
            request.job_id = request.job_id or job_id
        finally:
            span.end()


def away(error: RedisError) -> errors.Unavailable:
    """What clients are told of Redis. What it said itself is for the log."""
    complaints.of_redis(log, error)
    return errors.Unavailable(f"{explain(error)}; try again shortly")


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
