"""The pages put together: made with Gradio, of which only what they use can be reached."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import gradio as gr
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from redis.asyncio import Redis
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route, request_response
from starlette.types import ASGIApp

from examples import photos
from frontend.api import problems
from frontend.detection import DetectionService
from frontend.fetching import ImageFetcher
from frontend.limits import Limiter
from frontend.pages import (
    detect_many,
    header,
    model,
    modules,
    report,
    result_files,
    result_page,
    theme,
    traces,
)
from frontend.pages.addresses import ImageAddresses
from frontend.pages.batches import Batches
from frontend.pages.browser import NamesBrowser
from frontend.pages.detect import DetectPage
from frontend.pages.detect_one import Runner
from frontend.pages.events import Events
from frontend.pages.example_photos import Examples
from frontend.pages.i18n import EN, ZH, Texts
from frontend.pages.kept_batches import KeptBatches
from frontend.pages.monitor import page as monitor
from frontend.pages.result_files import Results
from frontend.pages.root import AtRoot, Rewritten, own_root, with_head
from frontend.pages.trace_links import Links
from frontend.pages.upload_request import OVERSIZE, UploadIntake
from frontend.pages.upload_routes import UploadRoutes
from frontend.pages.uploads import Uploads
from frontend.status import Status
from monitoring.stores.contract import TraceStore
from pipeline.queue.kept import KeptPictures
from pipeline.settings import Settings
from telemetry.setup import Telemetry

#: Seconds between two looks at Gradio's queue, in which no event of ours waits.
IDLE_S = 1.0
#: How well a page is compressed: it is done for each time that one is opened.
PAGE_LEVEL = 5
#: Our texts in Gradio's table of texts, apart from its own.
LABEL = "damoscope.{}"
SILENT: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


#: What the pages ask Gradio for, and the only addresses of Gradio's that exist here.
ADDRESSES = {
    "/": "GET",
    "/monitor": "GET",
    "/traces": "GET",
    "/report": "GET",
    "/model": "GET",
    "/theme.css": "GET",
    "/favicon.ico": "GET",
    "/assets/{path:path}": "GET",
    "/static/{path:path}": "GET",
}
#: The one that runs events.
EVENTS = "/gradio_api/run/predict"
#: Addresses of Gradio's that are ours here: what they serve are files.
UPLOAD = "/gradio_api/upload"
UPLOAD_PROGRESS = "/gradio_api/upload_progress"
FILE = "/gradio_api/file={upload_id}"
#: Where the address of an image is sent.
ADDRESS = "/pages/address"
#: Those that are pages.
PAGES = frozenset({"/", "/monitor", "/traces", "/report", "/model"})


class Site:
    """Gradio's application and our own addresses beside it."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        redis: Redis,
        detection: DetectionService,
        status: Status,
        limiter: Limiter,
        traces_store: TraceStore,
        pictures: KeptPictures,
        fetcher: ImageFetcher,
    ) -> None:
        folder = settings.home.resolve() / "uploads"
        # Gradio has nothing to write; should it ever, then here.
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        self._uploads = Uploads(folder, bytes_most=settings.page_uploads_bytes)
        kept, links, examples = Results(), Links(settings.jaeger_ui_url), Examples(photos())
        runner = Runner(detection, telemetry.tracer, lambda: status.snapshot)
        kept_batches = KeptBatches(redis, detection, settings.result_ttl_s)
        self._batches = Batches(runner, self._uploads, kept, kept_batches.keep)
        i18n = gr.I18n(
            **{"en": _labels(EN), "zh": _labels(ZH), "zh-CN": _labels(ZH), "zh-TW": _labels(ZH)}
        )
        page = DetectPage(
            uploads=self._uploads,
            runner=runner,
            batches=self._batches,
            results=kept,
            links=links,
            snapshot=lambda: status.snapshot,
            examples=examples,
            fetches=bool(fetcher.hosts),
            tiles_max=settings.tiles_max,
            label=lambda key: i18n(LABEL.format(key)),
        )
        blocks = _blocks(page)
        self._gradio = _gradio(blocks, settings, i18n)
        self._public_url = settings.public_url
        self._events = Events(AtRoot(self._gradio), blocks)
        self._addresses = ImageAddresses(
            self._uploads, fetcher, lambda client: limiter.check(client, "upload")
        )
        intake = UploadIntake(
            self._uploads, settings.max_upload_bytes, lambda client: limiter.check(client, "upload")
        )
        self._files = UploadRoutes(self._uploads, intake)
        self._routers = [
            header.router(),
            examples.router(),
            result_files.router(kept),
            result_page.router(kept, detection, links, lambda: status.snapshot),
            detect_many.router(self._batches, kept_batches, links, lambda: status.snapshot),
            traces.router(
                traces_store, links, detection, pictures, lambda: status.snapshot.workers
            ),
            model.router(),
        ]

    def add_to(self, app: FastAPI) -> None:
        """Give an application the pages' addresses."""
        for router in self._routers:
            app.include_router(router)
        modules.install(app, modules.DETECT, modules.SCRIPTS)
        monitor.install(app)
        gradio = AtRoot(self._gradio)
        changes = [own_root(self._public_url)] if self._public_url else []
        page = GZipMiddleware(
            Rewritten(gradio, *changes, with_head(theme.first())), compresslevel=PAGE_LEVEL
        )
        served: list[tuple[str, str, ASGIApp]] = [
            *(
                (path, method, page if path in PAGES else gradio)
                for path, method in ADDRESSES.items()
            ),
            (EVENTS, "POST", self._events),
            (ADDRESS, "POST", request_response(self._addresses.fetch)),
            (UPLOAD, "POST", request_response(self._files.upload)),
            (UPLOAD_PROGRESS, "GET", request_response(self._files.progress)),
            (FILE, "GET", request_response(self._files.file)),
        ]
        for path, method, endpoint in served:
            named = NamesBrowser(endpoint)
            app.router.routes.append(Route(path, named, methods=[method], include_in_schema=False))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Gradio's own lifespan, and what clears away after the pages."""
        sweeps = [
            asyncio.create_task(self._uploads.sweep(), name="uploads-sweep"),
            asyncio.create_task(self._batches.sweep(), name="batches-sweep"),
        ]
        try:
            async with self._gradio.router.lifespan_context(self._gradio):
                yield
        finally:
            for sweep in sweeps:
                sweep.cancel()
            self._uploads.close()


def _gradio(blocks: gr.Blocks, settings: Settings, i18n: gr.I18n) -> FastAPI:
    """The whole of Gradio's application, in one of its own: it would take every address."""
    own = FastAPI(telemetry=SILENT, openapi_url=None)
    # No event names a path here. Should one ever, Gradio checks it only once its own launcher
    # has set this.
    blocks.has_launched = True
    with warnings.catch_warnings():
        # It warns that pages cannot be rendered by a Node server, which was not asked for.
        warnings.filterwarnings("ignore", message="SSR mode is not supported")
        _mount(own, blocks, settings, i18n)
    # Gradio looks for events a thousand times a second by default: 7 % of a core.
    blocks._queue.sleep_when_free = IDLE_S
    blocks._queue.progress_update_sleep_when_free = IDLE_S
    return own


def _mount(app: FastAPI, blocks: gr.Blocks, settings: Settings, i18n: gr.I18n) -> None:
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        # Unset: what `Host` says. Fields by which others say more do not come this far.
        root_path=settings.public_url,
        app_kwargs={
            # FastAPI's own telemetry is on by default, in Gradio's application too.
            "telemetry": SILENT,
            "docs_url": None,
            "redoc_url": None,
            "exception_handlers": problems.HANDLERS,
        },
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
    )
    with blocks:
        page.build(blocks)
    with blocks.route("Monitor", "/monitor"):
        monitor.build()
    with blocks.route("Traces", "/traces"):
        traces.build()
    with blocks.route("Report", "/report"):
        report.build()
    with blocks.route("Model", "/model"):
        model.build()
    return blocks
