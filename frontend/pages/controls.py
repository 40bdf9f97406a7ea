"""What both ways of detecting share: the photo that is kept as it came, and the thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from frontend.status import Snapshot

#: A text of `frontend.pages.i18n` by its key, as Gradio's components take it.
Label = Callable[[str], Any]
#: Thresholds of the sliders until a worker has said what its model's own are.
SCORE, IOU = 0.3, 0.65


def photo_input(label: Label) -> gr.Image:
    """An image input that hands on the file as the browser sent it.

    Gradio's own opens the file to see whether it must be converted, and so answers a
    damaged one with an error of its own, before the service could say what is wrong.
    """
    image = gr.Image(
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard", "webcam"],
        label=label("image"),
        placeholder=label("image.hint"),
        height=320,
        buttons=["fullscreen"],
        elem_id="photo",
    )
    # Not in a class derived from it: Gradio would write a stub file next to this one.
    image.preprocess = _as_it_came  # type: ignore[method-assign]
    return image


def _as_it_came(payload: ImageData | None) -> str | None:
    """Path of the stored file; Gradio has checked that it lies where uploads are kept."""
    return payload.path if payload else None


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
