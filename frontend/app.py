"""The frontend put together: one function that reads from top to bottom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.api import (
    alerts,
    compare,
    detect,
    metrics,
    models,
    otlp,
    pictures,
    problems,
    reference,
    report,
    slo,
    stats,
    traces,
)
from frontend.api.parameters import single_values
from frontend.api.problems import UnforeseenErrors
from frontend.arrival import SinceArrival
from frontend.clients import Clients
from frontend.detection import DetectionService
from frontend.early import EarlyRefusals
from frontend.edge.layer import Edge
from frontend.fetching import ImageFetcher
from frontend.identity import login
from frontend.identity.access import Access
from frontend.identity.layer import Authenticator, Identity
from frontend.identity.sessions import Sessions
from frontend.layers import HeadAsGet, TraceIdHeader, name_server
from frontend.limits import Limiter
from frontend.model_history import ModelHistory
from frontend.preferences import ChosenLanguage
from frontend.replies import Replies
from frontend.rollouts import Rollouts
from frontend.server.bodies import Bodies, BodyLimit
from frontend.server.bounds import bounds
from frontend.server.memory import Memory
from frontend.status import Status, observe_losses
from frontend.turns import Turns
from monitoring.alerts import objectives
from monitoring.alerts.budgets import RecentBudgets
from monitoring.stores.selection import Stores
from pipeline.connection import connect_async
from pipeline.errors import ConfigurationError
from pipeline.queue.admission import Admissions
from pipeline.queue.kept import KeptPictures
from pipeline.queue.producer import Producer
from pipeline.settings import Settings
from telemetry.setup import Telemetry

#: Only detections are traced: no pages, assets, polls, health checks or telemetry itself.
UNTRACED = rf"^(?!.*{detect.DETECT_PATH}$)"


def _bodies(settings: Settings) -> dict[str, BodyLimit]:
    """What bodies may take, by the beginning of an address; others may be short JSON."""
    return {
        detect.DETECT_PATH: BodyLimit(settings.max_upload_bytes, refused_there=True),
        "/otlp/": BodyLimit(otlp.MAX_BODY_BYTES, refused_there=True),
        "/gradio_api/upload": BodyLimit(kept=False, refused_there=True),
    }


class Frontend:
    """What is served: FastAPI's application, and the layers around its tracing."""

    def __init__(self, app: FastAPI, layers: Sequence[Middleware]) -> None:
        """The first of the layers is the outermost."""
        self.app = app
        self._outermost: ASGIApp = app
        for layer, args, kwargs in reversed(layers):
            self._outermost = layer(self._outermost, *args, **kwargs)

    @property
    def state(self) -> State:
        """What the parts of the application share."""
        return self.app.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._outermost(scope, receive, send)


def build(settings: Settings, telemetry: Telemetry, stores: Stores) -> Frontend:
    """The ASGI application. Nothing is connected before its lifespan begins.

    Every layer stands here, and holds for every address: at the end of this function those
    around the tracing, which say where a request comes from; in FastAPI's list those inside of
    it. One more goes into one of the two lists.
    """
    within = bounds(settings)
    memory = Memory(within.memory, within.memory_each)
    redis = connect_async(settings)
    status = Status(redis, telemetry.instruments.malformed)
    admissions = Admissions(lambda pool: status.snapshot.throughput(pool))
    producer = Producer(
        redis,
        queue_max=settings.queue_max,
        queue_mb=settings.queue_mb,
        job_ttl_s=settings.job_ttl_s,
        result_ttl_s=settings.result_ttl_s,
        attempts_max=settings.attempts_max,
        admissions=admissions,
        pools=lambda: status.snapshot.pools,
        tally=telemetry.instruments.malformed,
    )
    replies = Replies(redis, uuid4().hex, producer.state, telemetry.instruments.malformed)
    limiter, clients = Limiter(settings, redis), Clients(settings.clients, redis)
    turns = Turns()
    detection = DetectionService(
        settings, producer, replies, status, limiter, clients, telemetry, turns
    )
    kept = KeptPictures(redis)
    fetcher = ImageFetcher(settings)
    status.observe(telemetry.instruments)
    detection.observe()
    observe_losses(telemetry.instruments, stores)
    alerting = alerts.Alerting(settings, stores, telemetry.instruments.malformed)
    budgets = RecentBudgets(stores.metrics, objectives.read(settings.slo))
    rollouts = Rollouts(settings, lambda: status.snapshot)
    authenticator = Authenticator(settings)
    logins = login.Logins(telemetry.instruments)
    site = None
    if settings.pages:
        from frontend.pages.site import Site  # Gradio is large; the API alone has none of it

        site = Site(
            settings, telemetry, redis, detection, status, limiter, stores.traces, kept, fetcher
        )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, stores.close)
            stack.push_async_callback(asyncio.to_thread, alerting.close)
            stack.push_async_callback(asyncio.to_thread, rollouts.close)
            stack.push_async_callback(redis.aclose)
            stack.callback(fetcher.close)
            await status.start()
            stack.push_async_callback(status.close)
            await replies.start()
            stack.push_async_callback(replies.close)
            if site is not None:
                await stack.enter_async_context(site.running())
            yield

    app = FastAPI(
        title="damoscope",
        summary="DAMO-YOLO detection that can be seen through",
        lifespan=lifespan,
        # FastAPI's own telemetry is off: the instrumentation below is the one that traces.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
        responses=problems.EVERYWHERE,
        middleware=[  # the first is the outermost
            Middleware(TraceIdHeader),
            Middleware(HeadAsGet),
            Middleware(UnforeseenErrors),
            Middleware(Bodies, memory, _bodies(settings)),
        ],
        # Inside of those comes Starlette's layer for what is raised on purpose.
        exception_handlers=problems.HANDLERS
        | {RequestValidationError: detect.on_invalid_parameter},
    )
    if FastAPIInstrumentor().is_instrumented_by_opentelemetry:
        # An agent has, and so as to trace more than an image's way: ours takes its place.
        FastAPIInstrumentor.uninstrument_app(app)
        app.middleware_stack = None
    # And around it all, the SERVER span of a detection.
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=SinceArrival(telemetry.tracer_provider),
        meter_provider=NoOpMeterProvider(),
        excluded_urls=UNTRACED,
        exclude_spans=["receive", "send"],
        server_request_hook=name_server,
    )

    app.state.settings = settings
    app.state.bounds = within
    app.state.memory = memory
    app.state.admissions = admissions
    app.state.detection = detection
    app.state.pictures = kept
    app.state.fetcher = fetcher
    app.state.status = status
    app.state.stores = stores
    app.state.alerts = alerting
    app.state.budgets = budgets
    app.state.rollouts = rollouts
    app.state.model_history = ModelHistory(stores.metrics)
    app.state.authenticator = authenticator
    reference.install(app, with_pages=site is not None)
    app.include_router(login.router(authenticator, logins))
    if settings.oidc_issuer is not None:
        from frontend.identity import oidc  # where it is used

        app.include_router(oidc.router(settings, logins))
    secured = reference.KEYS if authenticator.needed else []
    for api in (detect, compare, traces, pictures, stats, alerts, slo, report, models):
        app.include_router(api.router, dependencies=[*secured, Depends(single_values)])
    if stores.receiver is not None:
        app.include_router(otlp.router(stores.receiver))
    if stores.exposition is not None:
        app.include_router(metrics.router(stores.exposition))
    if site is not None:
        site.add_to(app)
    _check_public_path(settings.public_path, app)
    return Frontend(
        app,
        [  # the first is the outermost
            Middleware(Edge, settings, lambda: not authenticator.needed),
            Middleware(ChosenLanguage),
            Middleware(Sessions, settings),
            Middleware(Identity, authenticator),
            Middleware(Access, telemetry.instruments),
            Middleware(
                EarlyRefusals,
                turns,
                admissions,
                status,
                telemetry.tracer,
                lambda: app.state.detection,
            ),
        ],
    )


def _check_public_path(path: str, app: FastAPI) -> None:
    """Whether a proxy has stripped the public URL's path off can be told from none of our own."""
    first = path.strip("/").partition("/")[0]
    taken = {
        str(route.path).strip("/").partition("/")[0] for route in iter_route_contexts(app.routes)
    }
    if first and first in taken:
        raise ConfigurationError(
            f"DAMOSCOPE_PUBLIC_URL: its path must not begin with /{first}, which is an address of "
            "the service itself"
        )
