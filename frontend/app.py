"""The frontend put together: one short function that reads from top to bottom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from fastapi import FastAPI, Request
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import get_current_span
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.api import alerts, otlp, problems, reference, report, stats, traces
from frontend.api import detect as api
from frontend.clients import Clients
from frontend.detection import DetectionService, ImageRequest
from frontend.direct import Direct
from frontend.limits import Limiter
from frontend.replies import Replies
from frontend.status import Status
from monitoring.stores.opening import Stores
from pipeline.connection import connect_async
from pipeline.errors import DamoscopeError
from pipeline.job import DetectOptions
from pipeline.queue.producer import Producer
from pipeline.settings import Settings
from telemetry.context import trace_id
from telemetry.setup import Telemetry

#: Only detections are traced: no pages, assets, polls, health checks or telemetry itself.
UNTRACED = rf"^(?!.*{api.DETECT_PATH}(\?.*)?$)"


def build(settings: Settings, telemetry: Telemetry, stores: Stores) -> FastAPI:
    """The ASGI application. Nothing is connected before its lifespan begins."""
    redis = connect_async(settings)
    producer = Producer(
        redis,
        queue_max=settings.queue_max,
        job_ttl_s=settings.job_ttl_s,
        result_ttl_s=settings.result_ttl_s,
        attempts_max=settings.attempts_max,
    )
    replies = Replies(redis, uuid4().hex, producer.state)
    status = Status(redis)
    status.observe(telemetry.instruments)
    limiter = Limiter(settings)
    clients = Clients(settings.clients, redis)
    detection = DetectionService(settings, producer, replies, status, limiter, clients, telemetry)
    detection.observe()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await replies.start()
        await status.start()
        yield
        await replies.close()
        await status.close()
        await redis.aclose()
        await asyncio.to_thread(app.state.alerts.close)
        await asyncio.to_thread(stores.close)

    # FastAPI's own telemetry is off: the instrumentation below is the one that traces.
    app = FastAPI(
        title="damoscope",
        summary="DAMO-YOLO detection that can be seen through",
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.detection = detection
    app.state.status = status
    app.state.stores = stores
    app.state.alerts = alerts.Alerting(settings, stores)
    app.state.on_invalid_parameter = _counter_of_refusals(detection)
    problems.install(app)
    reference.install(app)
    app.include_router(api.router)
    app.include_router(traces.router)
    app.include_router(stats.router)
    app.include_router(alerts.router)
    app.include_router(report.router)
    if stores.receiver is not None:
        app.include_router(otlp.router(stores.receiver))
    if settings.pages:
        from frontend import pages  # Gradio is large; a frontend for the API alone has none of it

        pages.mount(app, settings, telemetry)  # last: it takes every address that is still free
    app.add_middleware(TraceIdHeader)
    # What `Direct` does not answer under the address of detections (other methods) is traced here.
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=telemetry.tracer_provider,
        meter_provider=NoOpMeterProvider(),
        excluded_urls=UNTRACED,
        exclude_spans=["receive", "send"],
    )
    direct = Direct(app, telemetry.tracer)
    build_layers = app.build_middleware_stack
    app.build_middleware_stack = lambda: direct.before(build_layers())  # type: ignore[method-assign]
    return app


def _counter_of_refusals(
    detection: DetectionService,
) -> Callable[[Request, DamoscopeError], Awaitable[None]]:
    """Requests whose parameters FastAPI refuses are requests too: they are counted."""

    async def count(request: Request, error: DamoscopeError) -> None:
        if request.url.path == api.DETECT_PATH:
            refused = ImageRequest(
                span=get_current_span(),
                route="api",
                received_ns=time.time_ns(),
                read=_no_image,
                options=DetectOptions(),
                client=request.client.host if request.client else "",
            )
            await detection.refuse(refused, error)

    return count


async def _no_image() -> bytes:
    return b""


class TraceIdHeader:
    """Pure ASGI middleware: every answer of a traced request names its trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = get_current_span()
        if scope["type"] != "http" or not span.get_span_context().is_valid:
            await self.app(scope, receive, send)
            return

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-trace-id"] = trace_id(span)
            await send(message)

        await self.app(scope, receive, send_with_header)
