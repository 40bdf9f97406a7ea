"""`GET /api/v1/slo`: how the service level objectives stand."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from frontend.api.problems import responses
from monitoring.alerts.budgets import Budgets, RecentBudgets
from pipeline import errors

router = APIRouter(tags=["figures"], prefix="/api/v1/slo")


@router.get("", summary="Objectives and error budgets", responses=responses(errors.Unavailable))
async def read(request: Request) -> Budgets:
    """Of each service level objective: what was reached over its window, what is left of its error
    budget, and how fast that burns. Read anew at most every 30 seconds."""
    recent: RecentBudgets = request.app.state.budgets
    return await run_in_threadpool(recent.read)
