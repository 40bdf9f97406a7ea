"""`GET /api/v1/traces` and one trace, from whichever store is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from frontend.api.problems import responses
from frontend.api.trace_query import ImageFilters, ImageSearch
from monitoring.stores.contract import LogLine, Span, TraceStore, TraceSummary, by_span
from monitoring.stores.finding import BOUNDS_MS, TraceQuery
from pipeline import errors

router = APIRouter(tags=["traces"], prefix="/api/v1/traces")

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
    #: Who sent it, if known.
    client: str | None
    worker: str | None
    model: str | None
    model_version: str | None
    labels: list[str]
    #: Of the best box.
    score: float | None


class SpansAsked(BaseModel):
    """Which spans of a trace."""

    model_config = {"extra": "forbid"}

    limit: int = Field(SPANS_USUAL, ge=1, le=SPANS_MAX)
    offset: int = Field(0, ge=0, le=2**31)


class Bucket(BaseModel):
    """Images that took `from_ms` or longer, and less than `to_ms`."""

    from_ms: float
    to_ms: float | None
    count: int


class Histogram(BaseModel):
    """How many images are found, and how long they took."""

    total: int
    #: Whether these are all; otherwise there are at least so many.
    exact: bool
    #: What the store cannot search by: it was looked for among the newest images only.
    not_searched: list[str]
    buckets: list[Bucket]


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


@router.get(
    "",
    summary="Find images",
    responses=responses(errors.InvalidParameter, errors.Unavailable),
)
async def search(
    request: Request, response: Response, asked: Annotated[ImageSearch, Query()]
) -> list[Summary]:
    """Images, the newest or the slowest first. Where there are more, `Link` has the address of
    the next ones, which images that arrive in the meantime do not change.

    `X-Complete: false` says that not everything was looked through, `X-Not-Searched` by what the
    store cannot search: in the full stack Jaeger looks for that in 500 images at a time.
    """
    store: TraceStore = request.app.state.stores.traces
    query = asked.query()
    found = await run_in_threadpool(
        store.find, query, limit=asked.limit, order=asked.order, cursor=asked.cursor
    )
    if found.cursor is not None:
        following = urlencode(asked.parameters(cursor=found.cursor))
        response.headers["link"] = f'<traces?{following}>; rel="next"'
    if not found.complete:
        response.headers["x-complete"] = "false"
    if cannot := store.not_searched(query):
        response.headers["x-not-searched"] = ", ".join(cannot)
    return [_summary(item) for item in found.images]


@router.get(
    "/histogram",
    summary="How many images, and how long they took",
    responses=responses(errors.InvalidParameter, errors.Unavailable),
)
async def histogram(request: Request, asked: Annotated[ImageFilters, Query()]) -> Histogram:
    """The images that a search with the same parameters finds, counted by duration. The bounds
    are those of `min_duration_ms` and `max_duration_ms` that cost least."""
    store: TraceStore = request.app.state.stores.traces
    query = asked.query()
    tally = await run_in_threadpool(store.tally, query)
    return Histogram(
        total=tally.total,
        exact=tally.exact,
        not_searched=list(store.not_searched(query)),
        buckets=[
            Bucket(from_ms=from_ms, to_ms=to_ms, count=count)
            for from_ms, to_ms, count in zip(
                (0.0, *BOUNDS_MS), (*BOUNDS_MS, None), tally.counts, strict=True
            )
        ],
    )


@router.get(
    "/{trace_id}", summary="One trace", responses=responses(errors.NotFound, errors.Unavailable)
)
async def trace(
    request: Request,
    response: Response,
    trace_id: Annotated[str, Path(pattern="^[0-9a-f]{32}$")],
    asked: Annotated[SpansAsked, Query()],
) -> list[SpanOut]:
    """The spans of a trace by start time, 1,000 at once unless `limit` says otherwise.

    `X-Total-Count` has how many there are, `X-Dropped-Count` how many more came and were not
    kept because the trace was too large. Where there are more than the answer holds, `Link`
    has the address of the next ones.
    """
    store = request.app.state.stores.traces
    part = await run_in_threadpool(store.part, trace_id, asked.offset, asked.limit)
    if not part.total:
        rows = await run_in_threadpool(store.find, TraceQuery(id=trace_id), limit=1)
        raise errors.NotFound(
            f"the spans of trace {trace_id} are kept no longer; "
            f"GET /api/v1/traces?id={trace_id} tells what is known of its images"
            if any(image.trace_id == trace_id for image in rows.images)
            else f"no trace {trace_id}: it was never seen, is not here yet, or is kept no longer"
        )
    response.headers["x-total-count"] = str(part.total)
    if part.dropped:
        response.headers["x-dropped-count"] = str(part.dropped)
    following = asked.offset + len(part.spans)
    if part.spans and following < part.total:
        query = urlencode({"limit": asked.limit, "offset": following})
        response.headers["link"] = f'<{trace_id}?{query}>; rel="next"'
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
