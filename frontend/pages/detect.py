"""The Detect page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from frontend.pages import detect_many
from frontend.pages.controls import Controls, Label, controls, defaults, photo_input
from frontend.pages.detect_one import Runner
from frontend.pages.header import header
from frontend.pages.i18n import both, texts
from frontend.pages.result import empty, error_line, result_view
from frontend.pages.result_files import Results
from frontend.pages.trace_links import Links
from frontend.status import Snapshot
from pipeline.job import DetectOptions


@dataclass(frozen=True)
class DetectPage:
    """What the page's events work with."""

    runner: Runner
    results: Results
    links: Links
    #: The state of queue and workers now.
    snapshot: Callable[[], Snapshot]
    examples: list[Path]
    label: Label

    def build(self, blocks: gr.Blocks) -> None:
        """Lay the page out in `blocks`, which is being built."""
        header("detect")
        with gr.Tabs(elem_classes="ds-tabs"):
            with gr.Tab(self.label("tab.one")):
                one = self._one_image()
            with gr.Tab(self.label("tab.several")):
                more = detect_many.tab(self.runner, self.results, self.links, self.label)
        blocks.load(
            self.thresholds,
            outputs=[one.score, one.iou, more.score, more.iou],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )

    def _one_image(self) -> Controls:
        with gr.Row(elem_classes="ds-columns"):
            with gr.Column(scale=5, min_width=320):
                image = photo_input(self.label)
                if self.examples:
                    gr.Examples(
                        [[str(path)] for path in self.examples],
                        [image],
                        label=self.label("examples"),
                        examples_per_page=12,
                        elem_id="examples",
                        api_visibility="private",
                    )
                chosen = controls(self.label)
            with gr.Column(scale=8, min_width=320):
                result = gr.HTML(
                    empty(both("empty.one"), both("empty.one.hint")),
                    elem_id="result",
                    apply_default_css=False,
                )
        options: dict[str, Any] = {
            "inputs": [image, chosen.score, chosen.iou],
            "outputs": result,
            # Answered by the request itself: no waiting in Gradio's queue before our own.
            "queue": False,
            "show_progress": "hidden",
            "trigger_mode": "always_last",
            "api_visibility": "private",
        }
        image.change(self.arrived, **options)
        gr.on([chosen.score.release, chosen.iou.release], self.arrived, **options)
        chosen.button.click(self.asked, **options)
        return chosen

    async def thresholds(self) -> tuple[float, ...]:
        """The model's own, for both tabs: no worker may have been ready when this was built."""
        return defaults(self.snapshot()) * 2

    async def arrived(self, path: str | None, score: float, iou: float, request: gr.Request) -> str:
        """An image came, went, or is to be run with another threshold."""
        if path is None:
            return empty(both("empty.one"), both("empty.one.hint"))
        return await self._run(path, score, iou, request)

    async def asked(self, path: str | None, score: float, iou: float, request: gr.Request) -> str:
        """The button was pressed."""
        if path is None:
            return empty(both("first"), both("empty.one.hint"))
        return await self._run(path, score, iou, request)

    async def _run(self, path: str, score: float, iou: float, request: gr.Request) -> str:
        words = texts(request.headers.get("accept-language"))
        client = request.client.host if request.client else ""
        options = DetectOptions(score_threshold=score, iou_threshold=iou)
        outcome = await self.runner.run(path, options, client)
        if outcome.result is None:
            return error_line(outcome, words, self.links)
        self.results.add(outcome)
        return result_view(outcome.result, score, words, self.links)
