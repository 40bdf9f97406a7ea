"""What both ways of detecting share: the photo that is kept as it came, and the thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from frontend.pages import modules
from frontend.pages.i18n import both
from frontend.status import Snapshot
from pipeline.job import MAX_DETECTIONS, DetectOptions
from pipeline.queue.pools import DEFAULT

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
#: The model's own thresholds go to all sliders that stand where the page was built with them:
#: whoever was quicker has moved them, and knows why.
OWN = f"""(score, iou, ...now) => now.map((at, place) => {{
  const [built, own] = place % 2 ? [{IOU}, iou] : [{SCORE}, score];
  return at === built ? own : at;
}})"""
#: Puts files where a person's own choice would be. Of a list Gradio takes the first, as what is for
#: the first output: so that several are a list in a list.
PUT = "(given) => [JSON.parse(given || 'null')]"


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
        "", html_template=template, elem_id=name, js_on_load=modules.detect("given"),
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


def hidden_number() -> gr.Number:
    """Holds what the service tells the page's scripts."""
    return gr.Number(visible=False, container=False)


def hidden_text() -> gr.Textbox:
    """Has a place in the events for what the page's scripts know: ids, for one."""
    return gr.Textbox("", visible=False, container=False)


@dataclass(frozen=True)
class Thresholds:
    score: gr.Slider
    iou: gr.Slider


@dataclass(frozen=True)
class Controls(Thresholds):
    #: Hold which tiles and which model are chosen, for the events.
    tiles: gr.Textbox
    model: gr.Textbox
    button: gr.Button

    @property
    def values(self) -> list[gr.components.Component]:
        """What every run is asked with."""
        return [self.score, self.iou, self.tiles, self.model]


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


def controls(label: Label, name: str, tiles_max: int, boxes_most: int) -> Controls:
    """The same, with the other choices and the button."""
    chosen = thresholds(label, name)
    gr.HTML(_choices(name, tiles_max, boxes_most), apply_default_css=False, js_on_load=None)
    button = gr.Button(label("detect"), variant="primary", elem_classes="ds-detect")
    return Controls(chosen.score, chosen.iou, hidden_text(), hidden_text(), button)


def _choices(name: str, tiles_max: int, boxes_most: int) -> str:
    """Which model to have, in how many tiles to look, where the service does so, and how many boxes
    to show."""
    tiles = (
        # What the options say is the script's: they hold text alone, and so one language.
        f'<label>{both("tiles")} <select name="tiles"><option value=""></option>'
        '<option value="auto"></option><option value="own"></option></select></label>'
        f'<span class="ds-pair" hidden>{_count("columns", 2, tiles_max)} × '
        f"{_count('rows', 2, tiles_max)}</span>"
    )
    return (
        f'<form class="ds-filter ds-choices" data-choices="{name}" inert>'
        f"{model_choice(name)}{tiles if tiles_max > 1 else ''}<label>{both('boxes.most')} "
        f'<input type="number" name="most" min="1" max="{boxes_most}" value="{boxes_most}" '
        "required></label></form>"
    )


def model_choice(name: str) -> str:
    """Which model to have, of a tab. Its script says which there are, where there are several."""
    return f'<label hidden>{both("model.name")} <select data-models="{name}"></select></label>'


def _count(name: str, value: int, most: int) -> str:
    return (
        f'<label><span class="ds-hidden">{both(f"tiles.{name}")}</span><input type="number" '
        f'name="{name}" min="1" max="{min(most, 99)}" value="{value}" required></label>'
    )


def options(score: float, iou: float, tiles: str, most: int = MAX_DETECTIONS) -> DetectOptions:
    """What a page's run asks for: what the thresholds choose, and what a lower score would."""
    return DetectOptions(
        score_threshold=score,
        iou_threshold=iou,
        max_detections=most,
        weaker_from=WEAKEST,
        tiles=tiles or None,
    )


def defaults(snapshot: Snapshot) -> tuple[float, float]:
    """Score and IoU threshold of the model that is loaded."""
    for worker in snapshot.workers_of(DEFAULT):
        if worker.score_threshold is not None and worker.iou_threshold is not None:
            return worker.score_threshold, worker.iou_threshold
    return SCORE, IOU


def input_side(snapshot: Snapshot, model: str) -> int | None:
    """Pixels along the longer side of a model's input, where a worker that runs it has said."""
    return next((each.input_side for each in snapshot.workers if each.model == model), None)
