"""The address of a result: the page's script asks for it where a link was opened, and after Back
or a reload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.responses import HTMLResponse

from frontend.detection import DetectionService
from frontend.identity.principal import principal
from frontend.pages.controls import input_side
from frontend.pages.i18n import Texts, texts
from frontend.pages.result import alert, result_view
from frontend.pages.result_files import Results
from frontend.pages.trace_links import Links
from frontend.pages.uploads import ID
from frontend.status import Snapshot
from pipeline.errors import NotFound, from_code
from pipeline.job import DetectionResult, DetectOptions


def router(
    results: Results,
    detection: DetectionService,
    links: Links,
    snapshot: Callable[[], Snapshot],
) -> APIRouter:
    """A result as HTML, for who may see it."""
    routes = APIRouter(prefix="/pages/results", include_in_schema=False)

    def shown(
        result: DetectionResult,
        options: DetectOptions,
        words: Texts,
        name: str = "",
        model: str | None = None,
    ) -> Response:
        side = input_side(snapshot(), result.model)
        return _page(
            result_view(result, options, words, links, name=name, input_side=side, model=model)
        )

    @routes.get("/{job_id}")
    async def view(
        request: Request,
        job_id: Annotated[str, Path(pattern=ID)],
        accept_language: Annotated[str | None, Header()] = None,
    ) -> Response:
        words, who = texts(accept_language), principal(request.scope)
        try:
            found = results.image(job_id, request.scope)
        except NotFound:
            # Of another process, or from before a restart: then as the API tells it, whose picture
            # is not here.
            if not who.may("detect"):
                raise
        else:
            return shown(found.result, found.options, words, found.upload.given, found.model)
        state = await detection.state(job_id, who)
        if state.result is not None:
            return shown(state.result, DetectOptions(), words)
        if state.error is not None:
            return _page(alert(from_code(state.error.code, state.error.message), words))
        return Response(status_code=202, headers={"Cache-Control": "no-store"})

    return routes


def _page(html: str) -> HTMLResponse:
    return HTMLResponse(html, headers={"Cache-Control": "private, no-store"})
