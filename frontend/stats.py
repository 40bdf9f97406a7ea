"""`GET /api/v1/stats`, from whichever store is read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from frontend.problems import responses
from monitoring.stats import Stats, stats
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
