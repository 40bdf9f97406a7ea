"""Errors as RFC 9457 problem documents, whoever raised them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from opentelemetry.trace import get_current_span
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.layers import TRACE_HEADER
from pipeline import errors
from pipeline.complaints import complaints
from pipeline.connection import explain
from telemetry import catalogue, spans
from telemetry.context import trace_id

log = logging.getLogger("damoscope.frontend")

MEDIA_TYPE = "application/problem+json"
#: Seconds after which a client told 429 or 503 may try again.
RETRY_AFTER_S = 2

SCHEMA = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "example": "urn:damoscope:invalid_image"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "trace_id": {"type": "string"},
    },
}

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


def problem(
    code: str, title: str, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem document, with the trace id of the request where it is traced."""
    body = {
        "type": f"urn:damoscope:{code}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    headers = dict(headers or {})
    if trace := trace_id(get_current_span()):
        body["trace_id"] = headers[TRACE_HEADER] = trace
    return JSONResponse(body, status, headers, MEDIA_TYPE)


async def refusal(scope: Scope, receive: Receive, send: Send, error: errors.DamoscopeError) -> None:
    """Answer with an error from a layer outside of the application. A WebSocket is closed."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    response = problem(error.code, error.title, error.status, str(error), error.headers)
    await response(scope, receive, send)


def described(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's entry for a problem that an operation may answer with."""
    return {status: {"description": description, "content": {MEDIA_TYPE: {"schema": SCHEMA}}}}


def responses(*kinds: type[errors.DamoscopeError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's entries for the errors that an operation may answer with."""
    return {
        status: entry
        for kind in kinds
        for status, entry in described(kind.status, kind.title).items()
    }


#: What any operation may answer with.
EVERYWHERE = (
    responses(errors.Unauthenticated, errors.Forbidden, errors.NotFound)
    | described(400, "Not what HTTP, or the operation, can read")
    | described(405, "Method not allowed; `Allow` names those that are")
    | described(414, "Address too long")
    | responses(errors.InvalidParameter, errors.DamoscopeError)
)


async def on_error(_: Request, error: errors.DamoscopeError) -> Response:
    """An error that was raised on purpose."""
    headers = dict(error.headers)
    if isinstance(error, errors.Overloaded):
        headers["Retry-After"] = str(error.retry_after_s)
    elif error.status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return problem(error.code, error.title, error.status, str(error), headers)


def invalid_parameter(error: RequestValidationError) -> errors.InvalidParameter:
    """Parameters that are out of range, unknown or missing, as an error of ours."""
    return errors.InvalidParameter(
        "; ".join(
            f"{_name(item['loc'])}={item.get('input')!r}: "
            f"{item['msg'][:1].lower()}{item['msg'][1:]}"
            for item in error.errors()
        )
    )


def _name(place: Sequence[int | str]) -> str:
    """The parameter, whichever of its values it is about."""
    return next((part for part in reversed(place) if isinstance(part, str)), "")


async def on_validation(request: Request, error: RequestValidationError) -> Response:
    """Parameters that FastAPI refuses."""
    return await on_error(request, invalid_parameter(error))


async def on_http(request: Request, error: HTTPException) -> Response:
    """What Starlette, FastAPI or Gradio refuse by a status of HTTP's own."""
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    detail = str(error.detail)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    if detail == status.phrase:
        detail = f"{request.method} {request.url.path}: {status.phrase.lower()}"
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    get_current_span().set_attributes(
        {catalogue.ATTR_PROBLEM_CODE: code, catalogue.ATTR_PROBLEM_DETAIL: detail}
    )
    return problem(code, status.phrase, status, detail, headers)


async def on_redis(request: Request, error: RedisError) -> Response:
    """Redis is away, or refuses. What it said itself is for the log."""
    complaints.of_redis(log, error)
    return await on_error(request, errors.Unavailable(f"{explain(error)}; try again shortly"))


async def on_unforeseen(_: Request, error: Exception) -> Response:
    """A mistake of ours. What it was is for the log, not for the client."""
    unknown = errors.DamoscopeError("something went wrong here; the service's log says what")
    return problem(unknown.code, unknown.title, unknown.status, str(unknown))


class UnforeseenErrors:
    """Layer that answers a mistake of ours, and logs it inside the request's trace.

    Starlette's own layer for them is outside of all others; it answers what those raise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = scope["type"] != "http"

        async def send_noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        except Exception as error:
            if answered:
                raise
            log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            spans.fail(get_current_span(), error, record_exception=True)
            response = await on_unforeseen(Request(scope), error)
            await response(scope, receive, send)


def _allowed(request: Request) -> list[str]:
    """Methods that the application has for an address; mounted files can be read only."""
    methods = {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    } or {"GET"}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


#: Handlers by what they handle.
HANDLERS: dict[int | type[Exception], Handler] = {
    errors.DamoscopeError: on_error,
    RequestValidationError: on_validation,
    HTTPException: on_http,
    RedisError: on_redis,
    Exception: on_unforeseen,
}
