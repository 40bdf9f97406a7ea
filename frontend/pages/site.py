"""The pages put together: made with Gradio, of which only what they use can be reached."""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import gradio as gr
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import Route
from starlette.types import ASGIApp

from examples import photos
from frontend.api import problems
from frontend.detection import DetectionService
from frontend.pages import header, report, result_files, theme, traces
from frontend.pages.detect import DetectPage
from frontend.pages.detect_one import Runner
from frontend.pages.i18n import EN, ZH, Texts
from frontend.pages.monitor import page as monitor
from frontend.pages.result_files import Results
from frontend.pages.trace_links import Links
from frontend.pages.uploads import Uploads, UploadWatch
from frontend.status import Status
from monitoring.stores.contract import TraceStore
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
SILENT: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


#: What the pages ask Gradio for, and the only addresses of Gradio's that exist here. `run/predict`
#: runs the events that do not wait in Gradio's queue, `queue/join` those that do.
ADDRESSES = {
    "/": "GET",
    "/monitor": "GET",
    "/traces": "GET",
    "/report": "GET",
    "/theme.css": "GET",
    "/favicon.ico": "GET",
    "/assets/{path:path}": "GET",
    "/static/{path:path}": "GET",
    "/gradio_api/file={path:path}": "GET",
    "/gradio_api/upload": "POST",
    "/gradio_api/upload_progress": "GET",
    "/gradio_api/run/predict": "POST",
    "/gradio_api/queue/join": "POST",
    "/gradio_api/queue/data": "GET",
}


class Site:
    """Gradio's application and our own addresses beside it."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        detection: DetectionService,
        status: Status,
        traces_store: TraceStore,
    ) -> None:
        os.environ["GRADIO_TEMP_DIR"] = str((settings.home / "uploads").resolve())
        uploads, kept, links = Uploads(), Results(), Links(settings.jaeger_ui_url)
        i18n = gr.I18n(
            **{"en": _labels(EN), "zh": _labels(ZH), "zh-CN": _labels(ZH), "zh-TW": _labels(ZH)}
        )
        page = DetectPage(
            runner=Runner(detection, uploads, telemetry.tracer, settings.max_upload_bytes),
            results=kept,
            links=links,
            snapshot=lambda: status.snapshot,
            examples=photos(),
            label=lambda key: i18n(LABEL.format(key)),
        )
        self._gradio = _gradio(_blocks(page), settings, i18n)
        self._uploads = uploads
        self._routers = [
            header.router(),
            result_files.router(kept),
            traces.router(traces_store, links),
        ]

    def add_to(self, app: FastAPI) -> None:
        """Give an application the pages' addresses."""
        for router in self._routers:
            app.include_router(router)
        monitor.install(app)
        for path, method in ADDRESSES.items():
            gradio: ASGIApp = self._gradio
            if path.endswith("/upload"):
                gradio = UploadWatch(gradio, self._uploads)
            app.router.routes.append(Route(path, gradio, methods=[method], include_in_schema=False))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Gradio's own lifespan."""
        async with self._gradio.router.lifespan_context(self._gradio):
            yield


def _gradio(blocks: gr.Blocks, settings: Settings, i18n: gr.I18n) -> FastAPI:
    """The whole of Gradio's application, in one of its own: it would take every address."""
    own = FastAPI(telemetry=SILENT, openapi_url=None)
    # Gradio checks the paths that an event names only once its own launcher has set this.
    blocks.has_launched = True
    with warnings.catch_warnings():
        # It warns that pages cannot be rendered by a Node server, which was not asked for.
        warnings.filterwarnings("ignore", message="SSR mode is not supported")
        _mount(own, blocks, settings, i18n)
    # Gradio looks for events a thousand times a second by default: 7 % of a core.
    blocks._queue.sleep_when_free = POLL_S
    blocks._queue.progress_update_sleep_when_free = PROGRESS_S
    return own


def _mount(app: FastAPI, blocks: gr.Blocks, settings: Settings, i18n: gr.I18n) -> None:
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        app_kwargs={
            # FastAPI's own telemetry is on by default, in Gradio's application too.
            "telemetry": SILENT,
            "docs_url": None,
            "redoc_url": None,
            "exception_handlers": problems.HANDLERS,
        },
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
