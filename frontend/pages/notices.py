"""What the Detect page says above everything else: that images cannot be detected now, and why;
that one is on its way. And the images that this browser has sent."""

from __future__ import annotations

import json
from html import escape

import gradio as gr

from frontend.pages.i18n import EN, ZH, Texts, both
from frontend.pages.theme import script
from frontend.pages.upload_request import FILES_MOST

#: Texts that the scripts need, by the beginnings of their keys.
TEXTS = ("detect.", "tiles.", "models.", "down.", "found", "several.", "first", "empty.", "camera.")


def notices() -> None:
    """Add them to the page that is being built."""
    words = escape(json.dumps({"en": _needed(EN), "zh": _needed(ZH)}, ensure_ascii=False))
    gr.HTML(
        f'<div class="ds-notices" data-texts="{words}" data-most="{FILES_MOST}">'
        '<p class="ds-error ds-down" role="alert" hidden></p>'
        '<p class="ds-wait" role="status" hidden></p></div>',
        elem_id="notices",
        apply_default_css=False,
        js_on_load=script("early"),
    )


def mine() -> None:
    """Add the list of the images that this browser has sent."""
    gr.HTML(
        f'<details class="ds-mine" hidden><summary>{both("detect.mine")} <span></span></summary>'
        f'<ol></ol><p><small class="ds-muted">{both("detect.mine.hint")}</small> '
        f'<button type="button">{both("detect.mine.clear")}</button></p></details>',
        elem_id="mine",
        apply_default_css=False,
        js_on_load=None,
    )


def _needed(words: Texts) -> dict[str, str]:
    return {key: text for key, text in words.items() if key.startswith(TEXTS)}
