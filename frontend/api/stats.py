"""`GET /api/v1/stats`, from whichever store is read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from frontend.api.problems import responses
from frontend.api.time_range import WINDOW_MAX_S, TimeRange
from monitoring.figures.marks import Marks, marks
from monitoring.figures.plots import STEPS_MAX, Plots, plots
from monitoring.figures.stats import Stats, stats
from pipeline import errors

router = APIRouter(tags=["figures"], prefix="/api/v1/stats")
RESPONSES = responses(errors.InvalidParameter, errors.Unavailable)


class StepsAsked(TimeRange):
    """The same in steps."""

    step: int | None = Field(
        None, ge=1, le=WINDOW_MAX_S,
        description=f"Seconds; default: about 180 steps. At most {STEPS_MAX} steps.",
    )  # fmt: skip


@router.get("", summary="The service in figures", responses=RESPONSES)
async def read(request: Request, asked: Annotated[TimeRange, Query()]) -> Stats:
    """Requests, latency percentiles, stages, queue and workers over the last `window` seconds
    (default: 60), or `from` one moment `to` another. Figures arrive with the next export, every
    5 seconds by default.

    Of a time that is over, what describes this moment otherwise is its mean over that time.
    """
    window_s, end_s = asked.asked(60)
    metrics = request.app.state.stores.metrics
    return await run_in_threadpool(stats, metrics, window_s, end_s=end_s)


@router.get("/series", summary="The figures over time", responses=RESPONSES)
async def series(request: Request, asked: Annotated[StepsAsked, Query()]) -> Plots:
    """Requests, latency, stages, queue and workers over the last `window` seconds (default:
    1,800), or `from` one moment `to` another, in equal steps. The answer's `step_s` is `step`
    rounded up to how finely the data is kept: 5 s, and coarser the longer ago it begins. A time
    that is over is in whole steps, which may begin before it and end after it."""
    window_s, end_s = asked.asked(1800)
    metrics = request.app.state.stores.metrics
    return await run_in_threadpool(plots, metrics, window_s, asked.step, end_s=end_s)


@router.get("/marks", summary="What happened to the service itself", responses=RESPONSES)
async def read_marks(request: Request, asked: Annotated[TimeRange, Query()]) -> Marks:
    """When processes started, and when workers began to use another model, over the last `window`
    seconds (default: 1,800), or `from` one moment `to` another; of a time of up to 7 days."""
    window_s, end_s = asked.asked(1800)
    metrics = request.app.state.stores.metrics
    return await run_in_threadpool(marks, metrics, window_s, end_s=end_s)
