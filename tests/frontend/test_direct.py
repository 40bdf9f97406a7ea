"""frontend.direct: detections are answered past the application, all else by it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from frontend.api import detect as api
from frontend.api import problems
from frontend.detection import ImageRequest
from frontend.direct import Direct
from pipeline.errors import DamoscopeError, Unavailable
from pipeline.settings import Settings

HOST = "http://cam.test:8000"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Detection:
    """Stands for the queue and the workers: counts the image's bytes, or fails."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def detect(self, request: ImageRequest) -> bytes:
        data = await request.read()
        if self.error is not None:
            raise self.error
        return json.dumps({"bytes": len(data), "trace_id": request.trace_id}).encode()


class Service:
    """The layer before an application that has the API's other addresses."""

    def __init__(self, error: Exception | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.app = FastAPI()
        self.app.include_router(api.router)
        problems.install(self.app)
        self.app.state.settings = Settings()
        self.app.state.detection = Detection(error)
        self.app.state.on_invalid_parameter = self._refused
        self.refused: list[DamoscopeError] = []
        self.asgi = Direct(self.app, provider.get_tracer("test")).before(self.app)

    async def _refused(self, request: object, error: DamoscopeError) -> None:
        self.refused.append(error)

    def ask(self, method: str, address: str, **options: Any) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.asgi)
            async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
                return await client.request(method, address, **options)

        return asyncio.run(answer())

    def span(self) -> ReadableSpan:
        (span,) = self.exporter.get_finished_spans()
        return span


IMAGE = {"content": b"123456", "headers": {"content-type": "image/jpeg", "user-agent": "camera 7"}}


def test_the_span_of_a_request() -> None:
    """Its attributes are those of the conventions for HTTP servers; the answer names its trace."""
    service = Service()
    answer = service.ask("POST", f"{api.DETECT_PATH}?max_detections=3", **IMAGE)
    span = service.span()
    assert span.context
    trace_id = f"{span.context.trace_id:032x}"
    assert (answer.status_code, answer.json()) == (200, {"bytes": 6, "trace_id": trace_id})
    assert answer.headers["x-trace-id"] == trace_id
    assert (span.name, span.kind, span.parent) == (f"POST {api.DETECT_PATH}", SpanKind.SERVER, None)
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": api.DETECT_PATH,
        "http.response.status_code": 200,
        "url.path": api.DETECT_PATH,
        "url.query": "max_detections=3",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "cam.test",
        "server.port": 8000,
        "client.address": "127.0.0.1",
        "client.port": 123,
        "user_agent.original": "camera 7",
    }


def test_the_callers_trace_goes_on() -> None:
    """A `traceparent` of the caller's is the parent of the request's span."""
    service = Service()
    headers = IMAGE["headers"] | {"traceparent": f"00-{TRACE}-{PARENT}-01"}  # type: ignore[operator]
    answer = service.ask("POST", api.DETECT_PATH, content=b"1", headers=headers)
    parent = service.span().parent
    assert answer.headers["x-trace-id"] == TRACE
    assert parent
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == (TRACE, PARENT)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        pytest.param(Unavailable("no worker"), 503, "unavailable", id="foreseen"),
        pytest.param(RuntimeError("a bug"), 500, "internal", id="not foreseen"),
    ],
)
def test_errors_are_problem_documents(error: Exception, status: int, kind: str) -> None:
    """Whatever is raised is answered with a problem that names the trace, and no more of a bug."""
    service = Service(error)
    answer = service.ask("POST", api.DETECT_PATH, **IMAGE)
    assert answer.status_code == status
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    body = answer.json()
    assert body["type"] == f"urn:damoscope:{kind}"
    assert body["trace_id"] == answer.headers["x-trace-id"]
    assert "a bug" not in answer.text
    assert (service.span().attributes or {})["http.response.status_code"] == status
    if kind == "internal":
        assert service.span().status.status_code is StatusCode.ERROR


def test_parameters_that_are_refused() -> None:
    """A parameter out of range is a 422, traced, and handed on to be counted."""
    service = Service()
    answer = service.ask("POST", f"{api.DETECT_PATH}?max_detections=0", **IMAGE)
    assert answer.status_code == 422
    assert "max_detections" in answer.json()["detail"]
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]
    assert [type(error).__name__ for error in service.refused] == ["InvalidParameter"]


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [("GET", api.DETECT_PATH, 405), ("POST", "/api/v1/detections", 404), ("GET", "/healthz", 200)],
)
def test_the_application_has_everything_else(method: str, address: str, status: int) -> None:
    """Other methods and addresses are the application's, and make no span here."""
    service = Service()
    assert (service.ask(method, address)).status_code == status
    assert service.exporter.get_finished_spans() == ()
