"""`POST /api/v1/detect`, past the application's layers: its SERVER span, its errors, its answer.

Fifteen layers (FastAPI's, Starlette's, the instrumentation's, the pages') lie before an endpoint,
and each is entered for the call and for every message of the answer. That takes a third of the
CPU time that the frontend has for an image, so what comes by the hundred a second is led past
them. FastAPI documents the endpoint all the same, and has every other address.
"""

from __future__ import annotations

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.api import detect as api
from frontend.api import problems
from pipeline.errors import DamoscopeError
from telemetry import catalogue, spans
from telemetry.context import extract, trace_id

log = logging.getLogger("damoscope.frontend")


class Direct:
    """Outermost ASGI layer: answers detections itself and passes on everything else."""

    def __init__(self, app: FastAPI, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    def before(self, others: ASGIApp) -> ASGIApp:
        """This layer, with `others` for what is no detection."""

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            if (
                scope["type"] == "http"
                and scope["path"] == api.DETECT_PATH
                and scope["method"] == "POST"
            ):
                await self._detect(scope, receive, send)
            else:
                await others(scope, receive, send)

        return choose

    async def _detect(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._app
        parent = _parent(scope)
        span = self._tracer.start_span(
            catalogue.SPAN_REQUEST_API, parent, SpanKind.SERVER, _attributes(scope)
        )
        token = context.attach(set_span_in_context(span, parent))
        try:
            answer = await self._answer(Request(scope, receive), span)
            span.set_attribute(catalogue.ATTR_HTTP_STATUS, answer.status_code)
            answer.headers["x-trace-id"] = trace_id(span)
            await answer(scope, receive, send)
        finally:
            span.end()
            context.detach(token)

    async def _answer(self, request: Request, span: Span) -> Response:
        """The endpoint's answer, or the problem document of what it raised."""
        try:
            query = api.parse_query(request.scope["query_string"])
            return await api.detect(request, query, request.headers.get("prefer"))
        except DamoscopeError as error:
            return await problems.on_error(request, error)
        except RequestValidationError as error:
            return await problems.on_validation(request, error)
        except Exception as error:
            log.error("a detection failed unexpectedly", exc_info=error)
            spans.fail(span, error)  # its exception was recorded where it happened
            return problems.problem("internal", "Internal error", 500, "see the frontend's log")


def _parent(scope: Scope) -> Context:
    """The context that the client's trace headers name; empty when there are none."""
    carrier = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"traceparent", b"tracestate")
    }
    return extract(carrier) if carrier else Context()


def _attributes(scope: Scope) -> dict[str, AttributeValue]:
    """What OpenTelemetry's conventions for HTTP servers want to be known of a request."""
    attributes: dict[str, AttributeValue] = {
        catalogue.ATTR_HTTP_METHOD: scope["method"],
        catalogue.ATTR_HTTP_ROUTE: api.DETECT_PATH,
        catalogue.ATTR_URL_PATH: scope["path"],
        catalogue.ATTR_URL_SCHEME: scope.get("scheme", "http"),
        catalogue.ATTR_PROTOCOL_VERSION: scope.get("http_version", "1.1"),
    }
    if scope["query_string"]:
        attributes[catalogue.ATTR_URL_QUERY] = scope["query_string"].decode("latin-1")
    if server := scope.get("server"):
        attributes[catalogue.ATTR_SERVER_ADDRESS] = server[0]
        if server[1] is not None:  # a Unix socket has no port
            attributes[catalogue.ATTR_SERVER_PORT] = server[1]
    if client := scope.get("client"):
        attributes[catalogue.ATTR_CLIENT_ADDRESS], attributes[catalogue.ATTR_CLIENT_PORT] = client
    for name, value in scope["headers"]:
        if name == b"user-agent":
            attributes[catalogue.ATTR_USER_AGENT] = value.decode("latin-1")
    return attributes
