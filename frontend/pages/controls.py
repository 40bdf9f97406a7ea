"""What both ways of detecting share: the photo that is kept as it came, and the thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from frontend.pages import modules
from frontend.status import Snapshot
from pipeline.job import MAX_DETECTIONS, DetectOptions

#: A text of `frontend.pages.i18n` by its key, as Gradio's components take it.
Label = Callable[[str], Any]
#: Thresholds of the sliders until a worker has said what its model's own are.
SCORE, IOU = 0.3, 0.65
#: The lowest score that the slider has, and the one down to which a run brings boxes, whatever its
#: threshold is: moving the slider takes another run only below that. It is DAMO-YOLO's own
#: threshold; with 0.01 NMS takes 13 ms of a worker instead of 0.3.
LOWEST, WEAKEST = 0.01, 0.05


#: Tell the page's own scripts what was chosen, by the ids that the service gave when it came (of a
#: file nothing else leaves the browser); that the button was pressed; and that the thresholds stand
#: where they should. It is these scripts that run events: Gradio's own never ends one whose answer
#: is lost with the connection. What is told before they are there is found by them in `told`.
_TELL = """{
  (document.told ??= {})[name] = detail;
  document.dispatchEvent(new CustomEvent(name, { detail }));
}"""
PHOTO = f"""(file) => {{
  const [name, detail] = ["ds-photo", file?.path ?? ""];
  {_TELL}
}}"""
PHOTOS = f"""(files) => {{
  const detail = {{ ids: (files ?? []).map((file) => file.path), come: %s }}, name = "ds-photos";
  {_TELL}
}}"""
DETECT = f"""() => {{
  const [name, detail] = ["ds-detect", "%s"];
  {_TELL}
}}"""
SET = f"""() => {{
  const [name, detail] = ["ds-thresholds", true];
  {_TELL}
}}"""
#: Puts files where a person's own choice would be.
PUT = "(given) => JSON.parse(given || 'null')"


def event_of(name: str, event: Mapping[str, Any]) -> None:
    """Say on the page that is being built by which number a tab's scripts run its event."""
    gr.HTML(
        f'<i hidden data-tab="{name}" data-event="{event["id"]}"></i>',
        js_on_load=None,
        apply_default_css=False,
    )


def given(name: str, template: str) -> gr.HTML:
    """Where the page's scripts leave what was dropped or pasted; it is `submit` that tells of it.
    `template` is what is seen there."""
    return gr.HTML(
        "", html_template=template, elem_id=name, js_on_load=modules.start("given"),
        apply_default_css=False,
    )  # fmt: skip


def photo_input(label: Label) -> gr.Image:
    """Where a person puts a photo."""
    return gr.Image(
        type="filepath",
        sources=["upload", "clipboard"],  # the camera has a tab of its own
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
class Thresholds:
    score: gr.Slider
    iou: gr.Slider


@dataclass(frozen=True)
class Controls(Thresholds):
    button: gr.Button


def thresholds(label: Label, name: str) -> Thresholds:
    """The two thresholds, in the column that is being built. By the name the page's scripts tell
    those of one tab from another's."""
    with gr.Row(elem_classes="ds-controls"):
        score = gr.Slider(
            LOWEST, 0.99, SCORE, step=0.01, label=label("score"),
            # Gradio would lock what is no input of an event.
            interactive=True, min_width=200, buttons=[], elem_classes="ds-score",
            elem_id=f"{name}-score",
        )  # fmt: skip
        iou = gr.Slider(
            0.05, 0.95, IOU, step=0.01, label=label("iou"),
            interactive=True, min_width=200, buttons=[], elem_classes="ds-iou",
            elem_id=f"{name}-iou",
        )  # fmt: skip
    return Thresholds(score, iou)


def controls(label: Label, name: str) -> Controls:
    """The same, with the button."""
    chosen = thresholds(label, name)
    button = gr.Button(label("detect"), variant="primary", elem_classes="ds-detect")
    return Controls(chosen.score, chosen.iou, button)


def options(score: float, iou: float, most: int = MAX_DETECTIONS) -> DetectOptions:
    """What a page's run asks for: what the thresholds choose, and what a lower score would."""
    return DetectOptions(
        score_threshold=score, iou_threshold=iou, max_detections=most, weaker_from=WEAKEST
    )


def defaults(snapshot: Snapshot) -> tuple[float, float]:
    """Score and IoU threshold of the model that is loaded."""
    for worker in snapshot.workers:
        if worker.score_threshold is not None and worker.iou_threshold is not None:
            return worker.score_threshold, worker.iou_threshold
    return SCORE, IOU
