"""The Detect page's camera: stills, and frames that its script sends to the API in turn."""

from __future__ import annotations

import json
from html import escape

import gradio as gr

from frontend.pages import modules
from frontend.pages.controls import Label, Thresholds, model_choice, thresholds
from frontend.pages.i18n import both
from pipeline.draw import COLOURS

#: Longest sides in pixels to which frames are made smaller: the models see 320 to 640.
SIZES = (640, 960, 1280)
#: Which name stands for which text: those that the script fills in.
FIGURES = ("rate", "latency", "p50", "p95", "frames", "errors")
COLUMNS = ("time", "found", "latency", "in_service", "trace")


def tab(label: Label) -> Thresholds:
    """Lay the tab out in the Blocks that is being built."""
    with gr.Row(elem_classes="ds-columns"):
        with gr.Column(scale=5, min_width=320):
            chosen = thresholds(label, "camera")
        with gr.Column(scale=8, min_width=320, elem_classes="ds-first"):
            gr.HTML(
                _view(),
                elem_id="camera",
                js_on_load=modules.detect("camera"),
                apply_default_css=False,
            )
    return chosen


def _view() -> str:
    return (
        f'<div class="ds-result ds-camera" data-colours="{escape(json.dumps(COLOURS))}">'
        f'<header><h2></h2></header><form class="ds-filter" inert>{_buttons()}'
        f"{model_choice('camera')}"
        f'<label hidden>{both("camera.choose")} <select name="camera"></select></label>'
        f'<label>{both("camera.size")} <select name="size">{_sizes()}</select></label>'
        f'<label><input type="checkbox" name="mirror"> {both("camera.mirror")}</label></form>'
        '<p class="ds-error" role="alert" hidden><span></span></p>'
        '<p class="ds-outdated" role="status" hidden></p>'
        f'<div class="ds-empty"><p>{both("empty.camera")}</p>'
        f'<p class="ds-muted">{both("empty.camera.hint")}</p></div>'
        '<div class="ds-photo" hidden><div class="ds-view">'
        "<video muted playsinline></video>"
        '<div class="ds-boxes" aria-hidden="true"></div></div></div>'
        f'<dl class="ds-live" hidden>{_figures()}</dl>{_last()}</div>'
    )


def _buttons() -> str:
    return "".join(
        f'<button type="button" data-do="{name}"{state}>{both(f"camera.{name}")}</button>'
        for name, state in (("live", ""), ("open", ""), ("still", " hidden"), ("stop", " hidden"))
    )


def _sizes() -> str:
    return "".join(f'<option value="{size}">{size} px</option>' for size in SIZES)


def _figures() -> str:
    return "".join(
        f"<div><dt>{name if name.startswith('p') else both(f'camera.{name}')}</dt>"
        f'<dd data-figure="{name}">–</dd></div>'
        for name in FIGURES
    )


def _last() -> str:
    head = "".join(f'<th scope="col">{both(f"camera.{name}")}</th>' for name in COLUMNS)
    return (
        f'<section class="ds-frames" hidden><h3>{both("camera.last")}</h3>'
        '<div class="ds-table" tabindex="0" role="group"><table>'
        f"<thead><tr>{head}</tr></thead><tbody></tbody></table></div></section>"
    )
