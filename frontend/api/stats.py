"""`GET /api/v1/stats`, from whichever store is read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from frontend.api.problems import responses
from monitoring.figures.plots import STEPS_MAX, Plots, plots
from monitoring.figures.stats import Stats, stats
from pipeline import errors

router = APIRouter(prefix="/api/v1/stats")

#: Seconds in 30 days, which is as far back as metrics are kept by default.
WINDOW_MAX_S = 30 * 86400


@router.get("", summary="The service in figures", responses=responses(errors.Unavailable))
async def read(
    request: Request,
    window: Annotated[int, Query(ge=5, le=WINDOW_MAX_S, description="Seconds.")] = 60,
) -> Stats:
    """Requests, latency percentiles, stages, queue and workers over the last `window` seconds.
    Figures arrive with the next export, every 5 seconds by default."""
    return await run_in_threadpool(stats, request.app.state.stores.metrics, window)


@router.get(
    "/series",
    summary="The figures over time",
    responses=responses(errors.InvalidParameter, errors.Unavailable),
)
async def series(
    request: Request,
    window: Annotated[int, Query(ge=5, le=WINDOW_MAX_S, description="Seconds.")] = 1800,
    step: Annotated[
        int | None,
        Query(
            ge=1,
            le=WINDOW_MAX_S,
            description=f"Seconds; default: about 180 steps. At most {STEPS_MAX} steps.",
        ),
    ] = None,
) -> Plots:
    """Requests, latency, stages, queue and workers over the last `window` seconds, in equal
    steps. The answer's `step_s` is `step` rounded up to how finely the data is kept: 5 s, and
    coarser the longer ago the window begins."""
    return await run_in_threadpool(plots, request.app.state.stores.metrics, window, step)
