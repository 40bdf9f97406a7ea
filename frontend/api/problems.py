"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from opentelemetry.trace import get_current_span
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from pipeline import errors
from telemetry.context import trace_id

MEDIA_TYPE = "application/problem+json"
#: Seconds after which a client told 429 or 503 may try again.
RETRY_AFTER_S = 2

SCHEMA = {
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


def install(app: FastAPI) -> None:
    """Answer every error of the API with a problem document."""
    app.add_exception_handler(errors.DamoscopeError, on_error)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, _on_http)


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
    span = get_current_span()
    if span.get_span_context().is_valid:
        body["trace_id"] = trace_id(span)
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


def responses(*kinds: type[errors.DamoscopeError]) -> dict[int | str, dict[str, object]]:
    """OpenAPI entries for the errors that an operation may answer with."""
    return {
        kind.status: {"description": kind.title, "content": {MEDIA_TYPE: {"schema": SCHEMA}}}
        for kind in kinds
    }


async def on_error(request: Request, error: Exception) -> Response:
    """The problem document of a DamoscopeError."""
    assert isinstance(error, errors.DamoscopeError)
    headers = dict(getattr(error, "headers", {}))
    if error.status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return problem(error.code, error.title, error.status, str(error), headers)


async def on_validation(request: Request, error: Exception) -> Response:
    """The problem document of parameters that are out of range or unknown."""
    assert isinstance(error, RequestValidationError)
    kind = errors.InvalidParameter
    detail = "; ".join(
        f"{item['loc'][-1]}={item.get('input')!r}: {item['msg'][:1].lower()}{item['msg'][1:]}"
        for item in error.errors()
    )
    await request.app.state.on_invalid_parameter(request, kind(detail))
    return problem(kind.code, kind.title, kind.status, detail)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem("http", str(error.detail), error.status_code, str(error.detail), error.headers)
