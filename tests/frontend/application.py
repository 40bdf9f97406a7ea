"""The frontend's application in this process, as `frontend.app` builds it, with nothing behind it:
no Redis, no worker, and a store of its own. Its spans are kept."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import TracerProvider as AnyTracerProvider
from pydantic import SecretStr

from frontend.app import Frontend, build
from frontend.detection import DetectionService
from frontend.image_request import ImageRequest
from monitoring.stores.selection import open_stores
from pipeline.errors import DamoscopeError
from pipeline.settings import Settings
from telemetry import catalogue
from telemetry.instruments import Instruments
from telemetry.setup import Telemetry
from telemetry.variables import TOKEN_HEADER

# As `frontend.main` does, before the first instrumentation of this process.
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
#: By which the receiver and the webhook are asked, by a part of their addresses.
TOKENS = {"/otlp/": "token-of-the-receiver", "/webhook": "token-of-the-webhook"}
HOST = "http://cam.localhost:8000"


class Answers(DetectionService):
    """Stands for the queue and the workers: counts the image's bytes, or raises `error`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[ImageRequest] = []
        self.refused: list[DamoscopeError] = []
        self.arrived: list[bool] = []

    async def detect(self, request: ImageRequest) -> bytes:
        self.asked.append(request)
        data = await request.read()
        if self.error is not None:
            raise self.error
        return json.dumps({"bytes": len(data), "trace_id": request.trace_id}).encode()

    def delivered(self, request: ImageRequest, arrived: bool) -> None:
        self.arrived.append(arrived)

    async def refuse(self, request: ImageRequest, error: DamoscopeError) -> None:
        self.refused.append(error)


class Application:
    """The application, and what was asked of it."""

    def __init__(
        self, served: Frontend, exporter: InMemorySpanExporter, runner: asyncio.Runner
    ) -> None:
        self.served, self.app = served, served.app
        self._exporter, self._runner = exporter, runner
        self.detection = self.app.state.detection = Answers()

    def ask(
        self,
        method: str,
        address: str,
        *,
        token: str | None = None,
        sender: str = "127.0.0.1",
        **options: Any,
    ) -> httpx.Response:
        """Ask; the receiver and the webhook with their tokens, or with another."""
        for part, known in TOKENS.items():
            if part in address:
                given = {TOKEN_HEADER: known if token is None else token}
                options["headers"] = dict(options.get("headers") or {}) | given

        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(
                app=self.served, raise_app_exceptions=False, client=(sender, 123)
            )
            async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
                return await client.request(method, address, **options)

        return self._runner.run(answer())

    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended."""
        return self._exporter.get_finished_spans()

    def span(self) -> ReadableSpan:
        """The one span that has ended."""
        (span,) = self.spans()
        return span


@contextmanager
def application(
    home: Path,
    *,
    pages: bool = False,
    tracers: AnyTracerProvider | None = None,
    **settings: Any,
) -> Iterator[Application]:
    """Build it; its store is closed afterwards. `tracers` are by default those whose spans are
    kept."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider()
    telemetry = Telemetry(
        tracer=(tracers or provider).get_tracer(catalogue.SERVICE_FRONTEND),
        instruments=Instruments(meters.get_meter(catalogue.SERVICE_FRONTEND)),
        tracer_provider=tracers or provider,
        meter_provider=meters,
    )
    given = Settings(
        home=home,
        pages=pages,
        otlp_token=SecretStr(TOKENS["/otlp/"]),
        webhook_token=SecretStr(TOKENS["/webhook"]),
        # Some say that they are known elsewhere, and nobody needs a key here.
        **{"insecure": True, "redis_url": "redis://127.0.0.1:1"} | settings,
    )
    stores = open_stores(given)

    async def built() -> Frontend:
        return build(given, telemetry, stores)  # Gradio looks for a running loop

    with asyncio.Runner() as runner:
        app = runner.run(built())
        yield Application(app, exporter, runner)
    app.state.alerts.close()
    app.state.rollouts.close()
    stores.close()
