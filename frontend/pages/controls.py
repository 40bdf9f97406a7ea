"""What both ways of detecting share: the photo that is kept as it came, and the thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from frontend.status import Snapshot

#: A text of `frontend.pages.i18n` by its key, as Gradio's components take it.
Label = Callable[[str], Any]
#: Thresholds of the sliders until a worker has said what its model's own are.
SCORE, IOU = 0.3, 0.65


#: What the browser makes of the files that were chosen: their ids, which the service gave them
#: when they came. Gradio's own handling of files on the service's side never sees one.
ID_OF_FILE = "(file) => file?.path ?? ''"
IDS_OF_FILES = "(files) => (files ?? []).map((file) => file.path).join(' ')"


def photo_input(label: Label) -> gr.Image:
    """Where a person puts a photo."""
    return gr.Image(
        type="filepath",
        sources=["upload", "clipboard", "webcam"],
        label=label("image"),
        placeholder=label("image.hint"),
        height=320,
        buttons=["fullscreen"],
        elem_id="photo",
    )


def hidden_ids() -> gr.Textbox:
    """Holds the ids of what was chosen, for the events."""
    return gr.Textbox("", visible=False, container=False)


@dataclass(frozen=True)
class Controls:
    score: gr.Slider
    iou: gr.Slider
    button: gr.Button


def controls(label: Label) -> Controls:
    """The two thresholds and the button, in the column that is being built."""
    with gr.Row(elem_classes="ds-controls"):
        score = gr.Slider(
            0.01, 0.99, SCORE, step=0.01, label=label("score"),
            min_width=200, buttons=[], elem_classes="ds-score",
        )  # fmt: skip
        iou = gr.Slider(
            0.05, 0.95, IOU, step=0.01, label=label("iou"),
            min_width=200, buttons=[], elem_classes="ds-iou",
        )  # fmt: skip
    button = gr.Button(label("detect"), variant="primary", elem_classes="ds-detect")
    return Controls(score, iou, button)


def defaults(snapshot: Snapshot) -> tuple[float, float]:
    """Score and IoU threshold of the model that is loaded."""
    for worker in snapshot.workers:
        if worker.score_threshold is not None and worker.iou_threshold is not None:
            return worker.score_threshold, worker.iou_threshold
    return SCORE, IOU
