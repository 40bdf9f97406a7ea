"""Several images at once: each runs by itself, with a trace of its own.

Gradio's event begins the batch; the page's script then asks how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from html import escape
from typing import Annotated, Any

import gradio as gr
from fastapi import APIRouter, Header, Path, Request, Response
from starlette.responses import HTMLResponse

from frontend.identity.principal import principal, share_of
from frontend.pages.batches import Batch, Batches
from frontend.pages.browser import owner
from frontend.pages.controls import IDS_OF_FILES, Controls, Label, controls, hidden_ids
from frontend.pages.detect_one import Outcome
from frontend.pages.error_text import sentence
from frontend.pages.events import ImageIds, Threshold, scope_of
from frontend.pages.i18n import Texts, both, texts
from frontend.pages.result import alert, empty, kept, photo
from frontend.pages.theme import script
from frontend.pages.timings import milliseconds
from frontend.pages.trace_links import Links
from frontend.pages.uploads import ID, Uploads, gone
from pipeline.draw import colour
from pipeline.errors import DamoscopeError, NotFound
from pipeline.job import DetectOptions

BatchId = Annotated[str, Path(pattern=ID)]


def tab(uploads: Uploads, batches: Batches, links: Links, label: Label) -> Controls:
    """Lay the tab out in the Blocks that is being built."""
    with gr.Row(elem_classes="ds-columns"):
        with gr.Column(scale=5, min_width=320):
            files = gr.File(
                file_count="multiple",
                file_types=["image"],
                type="filepath",
                label=label("images"),
                height=320,
                elem_id="photos",
            )
            ids = hidden_ids()
            chosen = controls(label)
        with gr.Column(scale=8, min_width=320):
            view = gr.HTML(
                empty(both("empty.several"), both("empty.several.hint")),
                elem_id="results",
                js_on_load=script("batch"),
                apply_default_css=False,
            )

    event: dict[str, Any] = {
        "fn": _handler(uploads, batches, links),
        "inputs": [ids, chosen.score, chosen.iou],
        "outputs": view,
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    # Of the files, only the ids that they were given leave the browser.
    ids_of_files: dict[str, Any] = {"fn": None, "js": IDS_OF_FILES, "inputs": files, "outputs": ids}
    gr.on([files.delete, files.clear], **ids_of_files)
    files.upload(**ids_of_files).then(**event, trigger_mode="always_last")
    gr.on([chosen.score.release, chosen.iou.release], **event, trigger_mode="always_last")
    chosen.button.click(**event, trigger_mode="once")
    return chosen


def _handler(
    uploads: Uploads, batches: Batches, links: Links
) -> Callable[..., Coroutine[Any, Any, str]]:
    async def run(ids: ImageIds, score: Threshold, iou: Threshold, request: gr.Request) -> str:
        scope = scope_of(request)
        words = texts(request.headers.get("accept-language"))
        options = DetectOptions(score_threshold=score, iou_threshold=iou)
        if not ids:
            return empty(both("first"), both("empty.several.hint"))
        given = [uploads.find(upload_id, owner(scope)) or gone() for upload_id in ids.split()]
        try:
            batch = batches.start(given, options, share_of(scope), owner(scope), principal(scope))
        except DamoscopeError as error:
            return alert(error, words)
        return f'<div class="ds-batch" data-batch="{batch.id}">{_view(batch, words, links)}</div>'

    return run


def router(batches: Batches, links: Links) -> APIRouter:
    """What the page's script asks for."""
    routes = APIRouter(prefix="/pages/batches", include_in_schema=False)

    def found(batch_id: str, request: Request) -> Batch:
        batch = batches.find(batch_id, owner(request.scope))
        if batch is None:
            raise NotFound(f"no images {batch_id}: they are kept no longer, or are not yours")
        return batch

    @routes.get("/{batch_id}")
    async def look(
        request: Request,
        batch_id: BatchId,
        seen: int = -1,
        accept_language: Annotated[str | None, Header()] = None,
    ) -> Response:
        batch = found(batch_id, request)
        if not batch.finished and len(batch.ready) == seen:
            return Response(status_code=204)  # as the page shows it
        return HTMLResponse(_view(batch, texts(accept_language), links))

    @routes.delete("/{batch_id}")
    async def leave(request: Request, batch_id: BatchId) -> Response:
        batches.stop(found(batch_id, request))
        return Response(status_code=204)

    return routes


def _view(batch: Batch, words: Texts, links: Links) -> str:
    """How far a batch is, or all its results, in the order in which the images were given."""
    outcomes, count, finished = batch.ready, len(batch.outcomes), batch.finished
    done = len(outcomes)
    share = 100 * done / count
    cards = "".join(_card(outcome, words, links) for outcome in outcomes)
    foot = _table(outcomes, words) + _downloads(batch.id, words) if finished else ""
    title = (
        _summary(outcomes, words) if finished else words["progress"].format(done=done, count=count)
    )
    return (
        f'<div class="ds-result ds-several" data-done="{int(finished)}" data-seen="{done}">'
        f"<header><h2>{escape(title)}</h2></header>"
        f'<div class="ds-progress" role="progressbar" aria-valuenow="{done}" aria-valuemin="0" '
        f'aria-valuemax="{count}"><i style="width:{share:.1f}%"></i></div>'
        f'<div class="ds-cards">{cards}</div>{foot}</div>'
    )


def _summary(outcomes: Sequence[Outcome], words: Texts) -> str:
    found = sum(len(o.result.detections) for o in outcomes if o.result)
    failed = sum(o.result is None for o in outcomes)
    text = words["summary.one" if found == 1 else "summary"].format(
        found=found, images=len(outcomes)
    )
    return f"{text} · {words['summary.failed'].format(failed=failed)}" if failed else text


def _card(outcome: Outcome, words: Texts, links: Links) -> str:
    name = f'<b title="{escape(outcome.name)}">{escape(outcome.name)}</b>'
    trace = f'<a href="{escape(links.trace(outcome.trace_id))}">{escape(words["trace.short"])}</a>'
    if outcome.result is None:
        assert outcome.error is not None
        what = f'<p class="ds-failure" role="alert">{escape(sentence(outcome.error, words))}</p>'
        return f'<article class="ds-card">{what}<footer>{name}{trace}</footer></article>'
    result = outcome.result
    key = {0: "found.none", 1: "found.one"}.get(len(result.detections), "found")
    facts = words[key].format(count=len(result.detections))
    return (
        f'<article class="ds-card"><a href="pages/results/{result.job_id}/boxes.jpg" '
        f'target="_blank">{photo(result, words, preview=True)}</a><footer>{name}{trace}'
        f'<span class="ds-muted">{escape(facts)} · {milliseconds(result.timings_ms.total)}</span>'
        "</footer></article>"
    )


def _table(outcomes: Sequence[Outcome], words: Texts) -> str:
    rows = "".join(
        f"<tr><td>{escape(outcome.name)}</td>"
        f'<td><i style="background:{colour(found.label)}"></i>{escape(found.label)}</td>'
        f"<td>{found.score:.3f}</td>"
        + "".join(
            f"<td>{v:.0f}</td>" for v in (found.box.x1, found.box.y1, found.box.x2, found.box.y2)
        )
        + "</tr>"
        for outcome in outcomes
        if outcome.result
        for found in outcome.result.detections
    )
    titles = (words["file"], words["label"], words["score.short"], "x1", "y1", "x2", "y2")
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="ds-table">{table}</div>' if rows else ""


def _downloads(batch_id: str, words: Texts) -> str:
    base = f"pages/results/batch/{batch_id}"
    return (
        '<p class="ds-downloads">'
        f'<a download="damoscope.zip" href="{base}/images.zip">{escape(words["download.zip"])}</a>'
        f'<a download="damoscope.json" href="{base}/results.json">'
        f"{escape(words['download.json'])}</a>{kept(words)}</p>"
    )
