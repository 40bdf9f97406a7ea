"""`GET /api/v1/traces/compare`: some images against the others; and two traces side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from frontend.api.problems import responses
from frontend.api.trace_query import ImageFilters
from monitoring.figures.differences import Differences, differences
from monitoring.figures.trace_pair import SPANS_MAX, TracePair, pair
from monitoring.stores.contract import TraceStore
from pipeline import errors

router = APIRouter(tags=["traces"], prefix="/api/v1/traces")

TraceId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class ImageComparison(ImageFilters):
    """Which images, and which of them are selected."""

    slowest: float = Field(
        0.05, gt=0, le=0.5, allow_inf_nan=False,
        description="Which share of them, those that took longest, is selected, where no duration "
        "is given.",
    )  # fmt: skip


@router.get(
    "/compare",
    summary="What is different about some images",
    responses=responses(errors.InvalidParameter, errors.Unavailable),
)
async def compare(request: Request, asked: Annotated[ImageComparison, Query()]) -> Differences:
    """The images of `min_duration_ms` and `max_duration_ms`, or else the slowest ones, against
    the others that a search with the other parameters finds: attributes and stages that differ
    most. Nothing is said of fewer than 20 images on either side.

    Values of `damoscope.outcome`, `damoscope.problem.code`, `damoscope.labels`, `enduser.id`,
    `damoscope.worker`, `damoscope.model` and `damoscope.route` are counted in all of them, or, of
    very many, in up to 1,000 of each side (`counted`); stages in up to 1,000, all other
    attributes in up to 200. In the full stack Jaeger
    hands over the newest 500 only: `exact` is false then.
    """
    store: TraceStore = request.app.state.stores.traces
    sides = await run_in_threadpool(store.compare, asked.query(), asked.slowest)
    return await run_in_threadpool(differences, sides)


@router.get(
    "/{trace_id}/compare/{other_id}",
    summary="Two traces side by side",
    responses=responses(errors.NotFound, errors.Unavailable),
)
async def side_by_side(request: Request, trace_id: TraceId, other_id: TraceId) -> TracePair:
    """Spans and attributes of both, what differs most first, of up to 500 spans each."""
    return await run_in_threadpool(
        compared_pair, request.app.state.stores.traces, trace_id, other_id
    )


def compared_pair(store: TraceStore, trace_id: str, other_id: str) -> TracePair:
    """Raises NotFound when one of them is not there, Unavailable."""
    parts = []
    for id in (trace_id, other_id):
        part = store.part(id, 0, SPANS_MAX)
        if not part.total:
            raise errors.NotFound(
                f"no trace {id}: it was never seen, is not here yet, or is kept no longer"
            )
        parts.append(part.spans)
    return pair(trace_id, parts[0], other_id, parts[1])
