"""The Model page: what runs, how good and how quick it is, and what else could run.

The page's script asks for it as HTML. Whoever is `admin` can switch workers to another model; that
is asked of the documented API.
"""

from __future__ import annotations

import time
from html import escape
from typing import Annotated

import gradio as gr
from fastapi import APIRouter, Header, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from frontend.api.models import report
from frontend.identity.principal import principal
from frontend.pages import model_view
from frontend.pages.header import header
from frontend.pages.i18n import EN, ZH, texts
from frontend.pages.theme import script
from monitoring.figures.stats import Latency, stages_ms
from monitoring.stores.contract import MetricsStore
from pipeline.errors import Unavailable

#: Seconds of which the page tells how long stages took.
SPEED_S = 900
#: Texts that the script shows.
SAID = ("model.ask", "model.ask.reset", "model.switch.refused", "model.away")


def build() -> None:
    """Lay the page out in the Blocks that is being built."""
    header("model")
    said = " ".join(
        f'data-{language}-{key.replace(".", "-")}="{escape(words[key])}"'
        for language, words in (("en", EN), ("zh", ZH))
        for key in SAID
    )
    gr.HTML(
        f'<div class="ds-model" {said}><p class="ds-error" role="alert" hidden></p>'
        '<div class="ds-shown" aria-live="off"></div></div>',
        js_on_load=script("model"),
        apply_default_css=False,
        elem_classes="ds-model-block",
    )


def router() -> APIRouter:
    """What the page's script asks for."""
    routes = APIRouter(prefix="/pages/model", include_in_schema=False)

    @routes.get("")
    async def shown(
        request: Request, accept_language: Annotated[str | None, Header()] = None
    ) -> HTMLResponse:
        words, who = texts(accept_language), principal(request.scope)
        try:
            found = await run_in_threadpool(report, request)
        except Unavailable as error:
            text = words["model.unknown"].format(reason=error)
            return HTMLResponse(f'<p class="ds-error" role="alert">{escape(text)}</p>')
        speed = await run_in_threadpool(_speed, request.app.state.stores.metrics)
        return HTMLResponse(model_view.page(found, speed, words, admin=who.may("admin")))

    return routes


def _speed(metrics: MetricsStore) -> dict[str, Latency]:
    """How long each stage took lately; nothing while that cannot be read, which Monitor says."""
    try:
        return stages_ms(metrics, metrics.window(SPEED_S, time.time()))
    except Unavailable:
        return {}
