"""Several images at once: each runs by itself, with a trace of its own.

Gradio's event begins the batch; the page's script then asks what has been done since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from html import escape
from typing import Annotated, Any

import gradio as gr
from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.responses import HTMLResponse, JSONResponse

from frontend.identity.principal import principal, share_of
from frontend.pages import modules
from frontend.pages.batches import Batch, Batches
from frontend.pages.browser import owner
from frontend.pages.controls import (
    DETECT,
    PHOTOS,
    PUT,
    Controls,
    Label,
    controls,
    event_of,
    given,
    hidden_text,
    input_side,
    options,
)
from frontend.pages.detect_one import Outcome
from frontend.pages.error_text import sentence
from frontend.pages.events import (
    IMAGES_MOST,
    AskedModel,
    AskedTiles,
    ImageIds,
    Threshold,
    scope_of,
)
from frontend.pages.i18n import Texts, both, texts
from frontend.pages.kept_batches import KeptBatch, KeptBatches
from frontend.pages.result import alert, described, empty, kept
from frontend.pages.trace_links import Links
from frontend.pages.uploads import ID, Uploads, gone
from frontend.status import Snapshot
from pipeline.errors import DamoscopeError, NotFound

BatchId = Annotated[str, Path(pattern=ID)]


#: Results that one answer tells at most; the script asks for the others at once.
TOLD_MOST = 100
#: Boxes of one image of a batch: those of hundreds of images are in the page together.
BOXES_MOST = 100
#: What to see of the images, and in which order: names that the script knows.
SEE = ("all", "found", "nothing", "failed")
ORDER = ("given", "name", "found", "score", "slowest")


def tab(uploads: Uploads, batches: Batches, links: Links, label: Label, tiles_max: int) -> Controls:
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
            dropped = given("given-several", _folder())
            ids = hidden_text()
            chosen = controls(label, "several", tiles_max, BOXES_MOST)
        with gr.Column(scale=8, min_width=320):
            view = gr.HTML(
                empty(both("empty.several"), both("empty.several.hint")),
                elem_id="results",
                js_on_load=modules.detect("several"),
                apply_default_css=False,
            )

    run = view.submit(
        _handler(uploads, batches),
        inputs=[ids, *chosen.values],
        outputs=view,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    event_of("several", run)
    files.upload(None, js=PHOTOS % "true", inputs=files)
    gr.on([files.delete, files.clear], None, js=PHOTOS % "false", inputs=files)
    dropped.submit(None, js=PUT, inputs=dropped, outputs=files)
    chosen.button.click(None, js=DETECT % "several")
    return chosen


def _folder() -> str:
    return (
        '<label class="ds-folder"><input type="file" class="ds-hidden" webkitdirectory multiple>'
        f"<span>{both('several.folder')}</span></label>"
    )


def _handler(uploads: Uploads, batches: Batches) -> Callable[..., Coroutine[Any, Any, str]]:
    async def run(
        ids: ImageIds,
        score: Threshold,
        iou: Threshold,
        tiles: AskedTiles,
        model: AskedModel,
        request: gr.Request,
    ) -> str:
        scope = scope_of(request)
        words = texts(request.headers.get("accept-language"))
        asked = options(score, iou, tiles, BOXES_MOST)
        if not ids:
            return empty(both("first"), both("empty.several.hint"))
        found = [uploads.find(upload_id, owner(scope)) or gone() for upload_id in ids.split()]
        try:
            batch = batches.start(
                found, asked, share_of(scope), owner(scope), principal(scope), model
            )
        except DamoscopeError as error:
            return alert(error, words)
        return _frame(batch, words)

    return run


def router(
    batches: Batches, kept_batches: KeptBatches, links: Links, snapshot: Callable[[], Snapshot]
) -> APIRouter:
    """What the page's script asks for."""
    routes = APIRouter(prefix="/pages/batches", include_in_schema=False)

    def found(batch_id: str, request: Request) -> Batch:
        batch = batches.find(batch_id, owner(request.scope))
        if batch is None:
            raise NotFound(f"no images {batch_id}: they are kept no longer, or are not yours")
        return batch

    async def anywhere(batch_id: str, request: Request) -> Batch | KeptBatch:
        batch = batches.find(batch_id, owner(request.scope))
        return batch or await kept_batches.find(batch_id, owner(request.scope))

    @routes.get("/{batch_id}")
    async def look(
        request: Request,
        batch_id: BatchId,
        since: Annotated[int, Query(ge=0, le=IMAGES_MOST)] = 0,
        accept_language: Annotated[str | None, Header()] = None,
    ) -> Response:
        """What has been done beyond so many, in the order in which it was."""
        words, part = texts(accept_language), slice(since, since + TOLD_MOST)
        batch = await anywhere(batch_id, request)
        if isinstance(batch, Batch):
            places, count = batch.done, len(batch.outcomes)
            done = [batch.outcomes[place] for place in places[part]]
        else:
            places, count = [image.place for image in batch.images], batch.count
            who = principal(request.scope)
            again = (kept_batches.outcome(batch, image, who) for image in batch.images[part])
            done = list(await asyncio.gather(*again))
        items = [
            {"place": place, **_item(outcome, words, links, snapshot())}
            for place, outcome in zip(places[part], done, strict=True)
            if outcome is not None
        ]
        finished = batch.finished and part.stop >= len(places)
        return JSONResponse(
            {"count": count, "finished": finished, "items": items},
            headers={"Cache-Control": "no-store"},
        )

    @routes.get("/{batch_id}/view")
    async def view(
        request: Request, batch_id: BatchId, accept_language: Annotated[str | None, Header()] = None
    ) -> Response:
        """The same as its event has answered: for a page that was left and is there again."""
        html = _frame(await anywhere(batch_id, request), texts(accept_language))
        return HTMLResponse(html, headers={"Cache-Control": "private, no-store"})

    @routes.delete("/{batch_id}")
    async def leave(request: Request, batch_id: BatchId) -> Response:
        batches.cancel(found(batch_id, request))
        return Response(status_code=204)

    return routes


def _item(outcome: Outcome, words: Texts, links: Links, snapshot: Snapshot) -> dict[str, Any]:
    """One image as the script draws it: its result, or why there is none."""
    told: dict[str, Any] = {"name": outcome.name, "href": links.trace(outcome.trace_id)}
    if outcome.result is None:
        assert outcome.error is not None
        return told | {"error": sentence(outcome.error, words)}
    result = outcome.result
    side = input_side(snapshot, result.model)
    shown = described(result, outcome.options, outcome.upload.given, side, outcome.model)
    return told | shown | {"ms": result.timings_ms.total}


def _frame(batch: Batch | KeptBatch, words: Texts) -> str:
    """What the script fills with a batch's images. Those that another process ran, or this one
    before a restart, can be neither withdrawn nor downloaded here."""
    elsewhere = isinstance(batch, KeptBatch)
    count = batch.count if isinstance(batch, KeptBatch) else len(batch.outcomes)
    iou, tiles = batch.options.iou_threshold, batch.options.tiles or ""
    return (
        f'<div class="ds-result ds-several ds-batch" data-batch="{batch.id}" '
        f'data-count="{count}" data-iou="{iou}" data-tiles="{tiles}" '
        f'data-model="{escape(batch.model)}" data-done="0"{" data-elsewhere" * elsewhere}>'
        '<header><h2 aria-live="polite">&nbsp;</h2>'
        f'<button type="button" data-do="cancel">{escape(words["several.cancel"])}</button>'
        "</header>"
        '<p class="ds-outdated" role="status" hidden></p><p class="ds-hint" hidden></p>'
        '<div class="ds-progress" role="progressbar" aria-valuenow="0" aria-valuemin="0" '
        f'aria-valuemax="{count}" aria-label="{escape(words["several.progress"])}">'
        '<i style="width:0"></i></div>'
        f'<form class="ds-filter">{_choice("see", SEE, words)}{_choice("order", ORDER, words)}'
        f'<label hidden>{escape(words["label"])} <select name="label"><option value="">'
        f"{escape(words['several.see.all'])}</option></select></label></form>"
        f'<div class="ds-cards"></div><nav class="ds-pages" hidden '
        f'aria-label="{escape(words["several.pages"])}">'
        f'<button type="button" data-do="before">{escape(words["several.before"])}</button>'
        '<span aria-live="polite"></span>'
        f'<button type="button" data-do="after">{escape(words["several.after"])}</button></nav>'
        f"{_table(words)}{_downloads(batch.id, words)}{_dialog(words)}</div>"
    )


def _choice(name: str, values: Sequence[str], words: Texts) -> str:
    listed = "".join(
        f'<option value="{value}">{escape(words[f"several.{name}.{value}"])}</option>'
        for value in values
    )
    title = escape(words[f"several.{name}"])
    return f'<label>{title} <select name="{name}">{listed}</select></label>'


def _table(words: Texts) -> str:
    titles = (words["file"], words["label"], words["score.short"], "x1", "y1", "x2", "y2")
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    return (
        f'<div class="ds-table" tabindex="0" role="group" aria-label="{escape(words["boxes"])}" '
        f"hidden><table><thead><tr>{head}</tr></thead>"
        "<tbody></tbody></table></div>"
    )


def _downloads(batch_id: str, words: Texts) -> str:
    base = f"pages/results/batch/{batch_id}"
    return (
        '<p class="ds-downloads" hidden>'
        f'<a download="damoscope.zip" data-file href="{base}/images.zip">'
        f"{escape(words['download.zip'])}</a>"
        f'<a download="damoscope.json" data-file href="{base}/results.json">'
        f"{escape(words['download.json'])}</a>{kept(words)}</p>"
    )


def _dialog(words: Texts) -> str:
    buttons = "".join(
        f'<button type="button" data-do="{name}">{escape(words[f"several.{name}"])}</button>'
        for name in ("previous", "next", "close")
    )
    return (
        '<dialog class="ds-open"><header><h2></h2>'
        f"<div>{buttons}</div></header><div></div></dialog>"
    )
