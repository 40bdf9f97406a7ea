"""`GET /api/v1/traces` and one trace, from whichever store is read."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from frontend.api.problems import responses
from frontend.api.stats import WINDOW_MAX_S
from monitoring.stores.contract import LogLine, Span, TraceSummary, Window, by_span
from pipeline import errors

router = APIRouter(prefix="/api/v1/traces")

#: Spans of one answer, and at most.
SPANS_USUAL = 1000
SPANS_MAX = 5000


class Summary(BaseModel):
    """One image's request, newest first in the list."""

    trace_id: str
    start_unix_ns: int
    duration_ms: float
    status: Literal["ok", "error"]
    outcome: str
    route: str
    detections: int | None
    job_id: str | None
    error_type: str | None
    error_message: str | None
    stages_ms: dict[str, float]


class LogOut(BaseModel):
    """One log line."""

    time_unix_ns: int
    level: str
    logger: str
    message: str
    stack: str


class SpanOut(BaseModel):
    """One span; times in nanoseconds since the Unix epoch, durations in milliseconds."""

    name: str
    kind: str
    service: str
    span_id: str
    parent_span_id: str | None
    start_unix_ns: int
    duration_ms: float
    status: Literal["unset", "ok", "error"]
    status_message: str
    attributes: dict[str, Any]
    links: list[dict[str, Any]]
    events: list[dict[str, Any]]
    #: What was logged within the span; kept by the single machine's own store.
    logs: list[LogOut]


@router.get("", summary="Recent images", responses=responses(errors.Unavailable))
async def search(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    min_duration_ms: Annotated[float | None, Query(ge=0, le=86_400_000)] = None,
    status: Literal["ok", "error"] | None = None,
    order: Literal["newest", "slowest"] = "newest",
    window: Annotated[
        int | None, Query(ge=1, le=WINDOW_MAX_S, description="Seconds up to now; default: ever.")
    ] = None,
) -> list[Summary]:
    """The latest or slowest requests, each with its duration, outcome and detections."""
    found = await run_in_threadpool(
        request.app.state.stores.traces.search,
        limit=limit,
        min_duration_ms=min_duration_ms,
        status=status,
        window=None if window is None else Window.last(window, time.time()),
        order=order,
    )
    return [_summary(item) for item in found]


@router.get(
    "/{trace_id}", summary="One trace", responses=responses(errors.NotFound, errors.Unavailable)
)
async def trace(
    request: Request,
    response: Response,
    trace_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")],
    limit: Annotated[int, Query(ge=1, le=SPANS_MAX)] = SPANS_USUAL,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> list[SpanOut]:
    """The spans of a trace by start time, 1,000 at once unless `limit` says otherwise.

    `X-Total-Count` has how many there are, `X-Dropped-Count` how many more came and were not
    kept because the trace was too large. Where there are more than the answer holds, `Link`
    has the address of the next ones.
    """
    store = request.app.state.stores.traces
    part = await run_in_threadpool(store.part, trace_id, offset, limit)
    if not part.total:
        raise errors.NotFound(
            f"no trace {trace_id}: it was never seen, is not here yet, or is kept no longer"
        )
    response.headers["x-total-count"] = str(part.total)
    if part.dropped:
        response.headers["x-dropped-count"] = str(part.dropped)
    following = offset + len(part.spans)
    if part.spans and following < part.total:
        response.headers["link"] = f'<{trace_id}?limit={limit}&offset={following}>; rel="next"'
    lines = await run_in_threadpool(store.lines, trace_id)
    logged = by_span(part.spans, lines, whole=len(part.spans) == part.total)
    return [_span(span, logged[span.span_id]) for span in part.spans]


def _summary(item: TraceSummary) -> Summary:
    return Summary(**{name: getattr(item, name) for name in Summary.model_fields})


def _span(span: Span, lines: list[LogLine]) -> SpanOut:
    plain: dict[str, Any] = {
        name: getattr(span, name) for name in SpanOut.model_fields if name != "logs"
    }
    plain["logs"] = [{name: getattr(line, name) for name in LogOut.model_fields} for line in lines]
    plain["links"] = [
        {"trace_id": link.trace_id, "span_id": link.span_id, "attributes": dict(link.attributes)}
        for link in span.links
    ]
    plain["events"] = [
        {"name": event.name, "time_unix_ns": event.time_unix_ns,
         "attributes": dict(event.attributes)}
        for event in span.events
    ]  # fmt: skip
    return SpanOut(**plain)
