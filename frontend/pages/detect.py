"""The Detect page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from frontend.identity.principal import principal, share_of
from frontend.pages import addresses, camera, detect_many, modules
from frontend.pages.batches import Batches
from frontend.pages.browser import owner
from frontend.pages.controls import (
    DETECT,
    OWN,
    PHOTO,
    PUT,
    SET,
    Controls,
    Label,
    controls,
    defaults,
    event_of,
    given,
    hidden_number,
    hidden_text,
    input_side,
    options,
    photo_input,
)
from frontend.pages.detect_one import Runner
from frontend.pages.events import AskedModel, AskedTiles, ImageId, Threshold, hung_up, scope_of
from frontend.pages.example_photos import Examples
from frontend.pages.header import header
from frontend.pages.i18n import both, texts
from frontend.pages.notices import mine, notices
from frontend.pages.result import empty, error_line, result_view
from frontend.pages.result_files import Results
from frontend.pages.trace_links import Links
from frontend.pages.uploads import Uploads, gone
from frontend.status import Snapshot
from pipeline.job import MAX_DETECTIONS, DetectOptions


@dataclass(frozen=True)
class DetectPage:
    """What the page's events work with."""

    uploads: Uploads
    runner: Runner
    batches: Batches
    results: Results
    links: Links
    #: The state of queue and workers now.
    snapshot: Callable[[], Snapshot]
    examples: Examples
    #: Whether images are fetched by their address.
    fetches: bool
    #: Tiles that an image may be looked at in.
    tiles_max: int
    label: Label

    def build(self, blocks: gr.Blocks) -> None:
        """Lay the page out in `blocks`, which is being built."""
        header("detect")
        notices()
        with gr.Tabs(elem_classes="ds-tabs"):
            with gr.Tab(self.label("tab.one")):
                one = self._one_image()
            with gr.Tab(self.label("tab.several")):
                more = detect_many.tab(
                    self.uploads, self.batches, self.links, self.label, self.tiles_max
                )
            with gr.Tab(self.label("tab.camera")):
                live = camera.tab(self.label)
        own = [hidden_number(), hidden_number()]
        sliders = [value for tab in (one, more, live) for value in (tab.score, tab.iou)]
        blocks.load(
            self.thresholds,
            outputs=own,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        ).then(None, js=OWN, inputs=[*own, *sliders], outputs=sliders).then(None, js=SET)

    def _one_image(self) -> Controls:
        with gr.Row(elem_classes="ds-columns"):
            with gr.Column(scale=5, min_width=320):
                image = photo_input(self.label)
                photo = hidden_text()
                if self.fetches:
                    addresses.field()
                self.examples.lay_out(image)
                chosen = controls(self.label, "one", self.tiles_max, MAX_DETECTIONS)
                mine()
            with gr.Column(scale=8, min_width=320):
                result = gr.HTML(
                    empty(both("empty.one"), both("empty.one.hint")),
                    elem_id="result",
                    js_on_load=modules.detect("one"),
                    apply_default_css=False,
                )
        run = result.submit(
            self.arrived,
            inputs=[photo, *chosen.values],
            outputs=result,
            # Answered by the request itself: no waiting in Gradio's queue before our own.
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        event_of("one", run)
        image.change(None, js=PHOTO, inputs=image)
        chosen.button.click(None, js=DETECT % "one")
        # What the page's script puts there, as if it had been chosen.
        dropped = given("given", "<i hidden></i>")
        dropped.submit(None, js=PUT, inputs=dropped, outputs=image)
        return chosen

    async def thresholds(self) -> tuple[float, float]:
        """The model's own, for all tabs: no worker may have been ready when this was built."""
        return defaults(self.snapshot())

    async def arrived(
        self,
        photo: ImageId,
        score: Threshold,
        iou: Threshold,
        tiles: AskedTiles,
        model: AskedModel,
        request: gr.Request,
    ) -> str:
        """An image came, or is to be run again."""
        if not photo:
            return empty(both("first"), both("empty.one.hint"))
        return await self._run(photo, options(score, iou, tiles), model, request)

    async def _run(self, photo: str, asked: DetectOptions, model: str, request: gr.Request) -> str:
        scope = scope_of(request)
        words = texts(request.headers.get("accept-language"))
        upload = self.examples.find(photo) or self.uploads.find(photo, owner(scope)) or gone()
        with self.uploads.holding(upload):
            outcome = await self.runner.run(
                upload,
                asked,
                share_of(scope),
                principal(scope),
                gone=hung_up(request),
                model=model,
            )
        if outcome.result is None:
            return error_line(outcome, words, self.links)
        self.results.add(outcome, owner(scope))
        side = input_side(self.snapshot(), outcome.result.model)
        return result_view(
            outcome.result, asked, words, self.links, name=outcome.upload.given,
            input_side=side, model=model,
        )  # fmt: skip
