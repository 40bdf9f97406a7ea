"""The Traces page: recent images, and the waterfall of the one that is chosen.

The page's script asks for both as HTML; what is shown is in the page's address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape
from typing import Annotated

import gradio as gr
from fastapi import APIRouter, Header, Query, Request
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from frontend.api.compare import ImageComparison, TraceId, compared_pair
from frontend.api.trace_query import ImageFilters, ImageSearch
from frontend.detection import DetectionService
from frontend.identity.principal import Principal, principal
from frontend.pages import compare, trace_filter, trace_known, trace_pictures, waterfall
from frontend.pages.error_text import CHINESE_KINDS
from frontend.pages.header import header
from frontend.pages.i18n import Texts, texts
from frontend.pages.theme import script
from frontend.pages.timings import bar, milliseconds, moment
from frontend.pages.trace_links import Links
from frontend.pages.trace_pictures import TracedImage
from monitoring.figures.differences import differences
from monitoring.stores.comparing import by_duration
from monitoring.stores.contract import TraceStore, TraceSummary
from monitoring.stores.finding import TraceQuery
from pipeline.errors import NotFound, Unavailable
from pipeline.queue.kept import KeptPictures
from pipeline.queue.workers import WorkerState

#: Values that are offered for one filter.
KNOWN_MAX = 500
#: The page's script, in one scope.
SCRIPTS = ("traces", "traces_histogram", "traces_compare")
#: Spans of one trace that a page may have: as many as the embedded store keeps, and more.
SPANS_MAX = 10_000
#: Seconds that Redis may take to say which pictures and results are there.
LOOK_S = 2.0
#: Seconds after the end of a trace in which its picture may still come.
PICTURE_S = 60.0


def build() -> None:
    """Lay the page out in the Blocks that is being built."""
    header("traces")
    gr.HTML(
        f'<div class="ds-traces"><section class="ds-list">{trace_filter.form()}'
        f"{trace_filter.picking()}"
        '<div class="ds-found" aria-live="off"></div>'
        '<div class="ds-rows" aria-live="off"></div></section>'
        '<section class="ds-detail"></section></div>',
        js_on_load="".join(map(script, SCRIPTS)),
        apply_default_css=False,
        elem_classes="ds-traces-block",
    )


def router(
    store: TraceStore,
    links: Links,
    detection: DetectionService,
    pictures: KeptPictures,
    workers: Callable[[], Sequence[WorkerState]] = tuple,
) -> APIRouter:
    """What the page's script asks for; `workers` are those that are ready."""
    routes = APIRouter(prefix="/pages/traces", include_in_schema=False)

    @routes.get("")
    async def listed(
        asked: Annotated[ImageSearch, Query()],
        accept_language: Annotated[str | None, Header()] = None,
    ) -> HTMLResponse:
        words, query = texts(accept_language), asked.query()
        try:
            found = await run_in_threadpool(
                store.find, query, limit=asked.limit, order=asked.order, cursor=asked.cursor
            )
        except Unavailable as error:
            return HTMLResponse(_unreadable(error, words))
        filtered = query != TraceQuery() or asked.cursor is not None
        note = trace_filter.note(found, store.not_searched(query), words)
        return HTMLResponse(
            note + rows(found.images, words, filtered=filtered)
            + trace_filter.further(found.cursor, words)
        )  # fmt: skip

    @routes.get("/histogram")
    async def counted(
        asked: Annotated[ImageFilters, Query()],
        accept_language: Annotated[str | None, Header()] = None,
    ) -> HTMLResponse:
        words = texts(accept_language)
        # All durations are shown, so that another part can be chosen.
        query = replace(asked.query(), min_duration_ms=None, max_duration_ms=None)
        try:
            tally, part = await run_in_threadpool(store.tally, query), None
            if not trace_filter.by_buckets(asked.min_duration_ms, asked.max_duration_ms):
                part = await run_in_threadpool(store.tally, asked.query())
        except Unavailable:
            return HTMLResponse("")  # the list says so
        return HTMLResponse(
            trace_filter.histogram(tally, asked.min_duration_ms, asked.max_duration_ms, words, part)
        )

    @routes.get("/known")
    async def known() -> dict[str, list[str]]:
        """What filters can be set to, of what is there now."""
        ready = workers()
        found = {
            "label": {label for each in ready for label in each.labels},
            "worker": {each.name for each in ready},
            "model": {each.model for each in ready if each.model},
            "model_version": {each.model_version for each in ready if each.model_version},
            "code": set(CHINESE_KINDS),
        }
        return {name: sorted(values)[:KNOWN_MAX] for name, values in found.items()}

    @routes.get("/compare")
    async def compared(
        asked: Annotated[ImageComparison, Query()],
        accept_language: Annotated[str | None, Header()] = None,
    ) -> HTMLResponse:
        words, query = texts(accept_language), asked.query()
        try:
            found = differences(await run_in_threadpool(store.compare, query, asked.slowest))
        except Unavailable as error:
            return HTMLResponse(_unreadable(error, words))
        share = None if by_duration(query) else asked.slowest
        return HTMLResponse(compare.comparison(found, share, words))

    @routes.get("/{trace_id}/compare/{other_id}")
    async def side_by_side(
        trace_id: TraceId,
        other_id: TraceId,
        accept_language: Annotated[str | None, Header()] = None,
    ) -> HTMLResponse:
        words = texts(accept_language)
        try:
            found = await run_in_threadpool(compared_pair, store, trace_id, other_id)
        except NotFound:
            return HTMLResponse(f'<p class="ds-error">{escape(words["trace.missing"])}</p>')
        except Unavailable as error:
            return HTMLResponse(_unreadable(error, words))
        return HTMLResponse(compare.side_by_side(found, words))

    @routes.get("/{trace_id}")
    async def one(
        request: Request,
        trace_id: TraceId,
        spans: Annotated[int, Query(ge=1, le=SPANS_MAX)] = waterfall.SHOWN,
        accept_language: Annotated[str | None, Header()] = None,
    ) -> HTMLResponse:
        words = texts(accept_language)
        try:
            part = await run_in_threadpool(store.part, trace_id, 0, spans)
            lines = await run_in_threadpool(store.lines, trace_id)
            images = [] if part.total else await run_in_threadpool(rows_of, store, trace_id)
        except Unavailable as error:
            return HTMLResponse(_unreadable(error, words))
        shown = trace_pictures.of_spans(part.spans) or trace_pictures.of_rows(images)
        ended_s = max(
            (part.end_unix_ns / 1e9, *(each.start_unix_ns / 1e9 for each in images)), default=0.0
        )
        fresh = abs(time.time() - ended_s) < PICTURE_S
        seen = await _seen(shown, principal(request.scope), words, fresh=fresh)
        if images:
            return HTMLResponse(trace_known.view(trace_id, images, seen, words))
        return HTMLResponse(waterfall.view(trace_id, part, lines, words, links, seen))

    async def _seen(shown: list[TracedImage], who: Principal, words: Texts, *, fresh: bool) -> str:
        """Pictures and results of images, as far as Redis tells in time."""
        jobs, kept, alive = [image.job_id for image in shown], set[str](), set[str]()
        with suppress(RedisError, OSError, TimeoutError, Unavailable):
            async with asyncio.timeout(LOOK_S):
                kept = await pictures.which(shown[0].trace_id, jobs) if shown else kept
                for job_id in jobs if who.may("detect") else ():
                    with suppress(NotFound):
                        if (await detection.state(job_id, who)).result is not None:
                            alive.add(job_id)
        return trace_pictures.view(shown, kept, alive, words, fresh=fresh)

    return routes


def rows_of(store: TraceStore, trace_id: str) -> list[TraceSummary]:
    """The images of a trace that the search knows, though their spans may be gone."""
    found = store.find(TraceQuery(id=trace_id), limit=trace_known.MOST).images
    return [image for image in found if image.trace_id == trace_id]


def rows(found: Sequence[TraceSummary], words: Texts, *, filtered: bool = False) -> str:
    """The list, newest first; `filtered` tells which of two reasons it may be empty for."""
    if not found:
        if filtered:
            return f'<div class="ds-empty"><p>{escape(words["traces.empty.filter"])}</p></div>'
        return (
            f'<div class="ds-empty"><p>{escape(words["traces.empty"])}</p>'
            f'<p class="ds-muted">{escape(words["traces.empty.hint"])}</p></div>'
        )
    slowest = max(item.duration_ms for item in found)
    body = "".join(_row(item, slowest, words) for item in found)
    titles = ("time", "outcome", "found", "duration", "stages")
    head = "".join(f"<th>{escape(words['traces.' + title])}</th>" for title in titles)
    return (
        f'<div class="ds-table" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(item: TraceSummary, slowest_ms: float, words: Texts) -> str:
    route = words.get(f"route.{item.route}", item.route)
    found = "–" if item.detections is None else str(item.detections)
    outcome = words.get(f"outcome.{item.outcome}", item.outcome)
    why = item.error_message or item.error_type or ""
    width = 100 * item.duration_ms / slowest_ms if slowest_ms else 0
    return (
        f'<tr data-trace="{escape(item.trace_id)}">'
        f'<td><a href="traces?trace={escape(item.trace_id)}">{moment(item.start_unix_ns)}</a>'
        f'<span class="ds-muted"> {escape(route)}</span></td>'
        f'<td><span class="ds-chip {"bad" if item.status == "error" else "good"}" '
        f'title="{escape(why)}">{escape(outcome)}</span></td>'
        f"<td>{escape(found)}</td><td>{milliseconds(item.duration_ms)}</td>"
        f'<td><div style="width:{width:.1f}%">{bar(item.stages_ms, words)}</div></td></tr>'
    )


def _unreadable(error: Unavailable, words: Texts) -> str:
    text = words["traces.unreadable"].format(reason=error)
    return f'<p class="ds-error" role="alert"><span>{escape(text)}</span></p>'
