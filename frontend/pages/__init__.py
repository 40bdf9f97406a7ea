"""The pages (Detect, Monitor, Traces, Report), made with Gradio, mounted on the API's app."""

from __future__ import annotations

import os
import warnings

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from examples import photos
from frontend.pages import header, report, results, theme, traces
from frontend.pages.detect import DetectPage
from frontend.pages.fence import Fence
from frontend.pages.i18n import EN, ZH, Texts
from frontend.pages.links import Links
from frontend.pages.monitor import page as monitor
from frontend.pages.results import Results
from frontend.pages.run import Runner
from frontend.pages.uploads import Uploads, UploadWatch
from pipeline.settings import Settings
from telemetry.setup import Telemetry

#: Seconds that uploaded files are kept, and between two clearings.
KEEP_FILES_S, CLEAR_EVERY_S = 3600, 600
#: Files larger than an image may be, up to this many times, still reach the service, which
#: says what is wrong and leaves a trace; beyond it the browser refuses them.
OVERSIZE = 5
#: Seconds for which an event of a page may wait before it is looked at.
POLL_S = 0.05
#: Seconds between two looks at how far the pages' work is.
PROGRESS_S = 0.1
#: Our texts in Gradio's table of texts, apart from its own.
LABEL = "damoscope.{}"
SILENT = {"tracing": False, "metrics": False, "logs": False}


def mount(app: FastAPI, settings: Settings, telemetry: Telemetry) -> None:
    """Put the pages at `/`. Call it last: the mount takes every address not taken before."""
    os.environ["GRADIO_TEMP_DIR"] = str((settings.home / "uploads").resolve())
    uploads, kept, links = Uploads(), Results(), Links(settings.jaeger_ui_url)
    i18n = gr.I18n(
        **{"en": _labels(EN), "zh": _labels(ZH), "zh-CN": _labels(ZH), "zh-TW": _labels(ZH)}
    )
    runner = Runner(app.state.detection, uploads, telemetry.tracer, settings.max_upload_bytes)
    page = DetectPage(
        runner=runner,
        results=kept,
        links=links,
        snapshot=lambda: app.state.status.snapshot,
        examples=photos(),
        label=lambda key: i18n(LABEL.format(key)),
    )
    app.include_router(header.router())
    app.include_router(results.router(kept))
    app.include_router(traces.router(app.state.stores.traces, links))
    monitor.install(app)
    app.add_middleware(UploadWatch, uploads=uploads)
    blocks = _blocks(page)
    with warnings.catch_warnings():
        # It warns that pages cannot be rendered by a Node server, which was not asked for.
        warnings.filterwarnings("ignore", message="SSR mode is not supported")
        _mount(app, blocks, settings, i18n)
    # Gradio looks for events a thousand times a second by default: 7 % of a core.
    blocks._queue.sleep_when_free = POLL_S
    blocks._queue.progress_update_sleep_when_free = PROGRESS_S
    gradio = next(r for r in reversed(app.router.routes) if isinstance(r, Mount))
    gradio.app = Fence(gradio.app, app)


def _mount(app: FastAPI, blocks: gr.Blocks, settings: Settings, i18n: gr.I18n) -> None:
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        # FastAPI's own telemetry is on by default, in Gradio's application too.
        app_kwargs={"telemetry": SILENT, "docs_url": None, "redoc_url": None},
        allowed_paths=[str(photo) for photo in photos()],
        max_file_size=OVERSIZE * settings.max_upload_bytes,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        show_error=False,
        i18n=i18n,
        theme=theme.theme(),
        head=theme.head(),
    )


def _labels(words: Texts) -> dict[str, str]:
    return {LABEL.format(key): text for key, text in words.items()}


def _blocks(page: DetectPage) -> gr.Blocks:
    blocks = gr.Blocks(
        title="damoscope",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(CLEAR_EVERY_S, KEEP_FILES_S),
    )
    with blocks:
        page.build(blocks)
    with blocks.route("Monitor", "/monitor"):
        monitor.build()
    with blocks.route("Traces", "/traces"):
        traces.build()
    with blocks.route("Report", "/report"):
        report.build()
    return blocks
