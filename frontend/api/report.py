"""`GET /api/v1/report`: the report of the last days, as JSON, a page of its own, or Markdown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from frontend.api.problems import responses
from frontend.language import language as language_of
from monitoring.reports import html, markdown
from monitoring.reports.build import DAYS_MAX, DAYS_MIN, build, default_trace_url
from monitoring.reports.schema import Report
from pipeline import errors
from pipeline.settings import Settings

router = APIRouter(tags=["figures"], prefix="/api/v1/report")

Format = Literal["json", "html", "md"]


class ReportQuery(BaseModel):
    """Which report, and as what."""

    model_config = {"extra": "forbid"}

    days: int = Field(7, ge=DAYS_MIN, le=DAYS_MAX, description="Days up to now.")
    format: Format = Field("json", description="What the answer is.")
    language: Literal["en", "zh"] | None = Field(
        None, description="Of HTML and Markdown. Default: by `Accept-Language`."
    )
    timezone: str = Field(
        "UTC", description="Zone of the hours of the day, such as `Asia/Shanghai`."
    )


MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "html": "text/html",
    "md": "text/markdown",
}
#: The page holds text that clients sent; besides being escaped, it may run and fetch nothing.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@router.get(
    "",
    summary="A report of the last days",
    response_model=Report,
    responses={
        200: {
            "content": {
                "text/html": {"schema": {"type": "string"}},
                "text/markdown": {"schema": {"type": "string"}},
            }
        },
        **responses(errors.InvalidParameter, errors.Unavailable),
    },
)
async def read(
    request: Request,
    asked: Annotated[ReportQuery, Query()],
    accept_language: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Requests, latency, stages, failures and their causes, detections, clients, workers, cost,
    alerts, a rating and advice, each against the period before."""
    state = request.app.state
    report = await run_in_threadpool(
        build,
        state.stores.metrics,
        state.stores.traces,
        state.alerts.ledger,
        state.settings,
        asked.days,
        timezone=asked.timezone,
        trace_url=_trace_url(request, state.settings),
    )
    chosen = asked.language or language_of(accept_language)
    match asked.format:
        case "html":
            text = await run_in_threadpool(html.render, report, chosen)
        case "md":
            text = markdown.render(report, chosen)
        case "json":
            text = report.model_dump_json()
    name = f"damoscope-report-{asked.days}d-{datetime.now(UTC):%Y%m%d}.{asked.format}"
    headers = {**HEADERS, "content-disposition": f'inline; filename="{name}"'}
    return Response(text, headers=headers, media_type=MEDIA_TYPES[asked.format])


def _trace_url(request: Request, settings: Settings) -> str:
    """As the settings have it, or by the address under which we were asked."""
    if settings.public_url:
        return default_trace_url(settings)
    return f"{str(request.base_url).rstrip('/')}/traces?trace={{trace_id}}"
