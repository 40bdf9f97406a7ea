"""The Report page: choose the days, read the report, take it along.

The page's script asks the documented HTTP API, and shows its answer in a frame that runs
no scripts.
"""

from __future__ import annotations

import gradio as gr

from frontend.pages.header import header
from frontend.pages.i18n import both
from frontend.pages.theme import script
from monitoring.reports.build import DAYS_MAX, DAYS_MIN

DAYS = 7
FORMATS = {"html": "HTML", "md": "Markdown", "json": "JSON"}


def build() -> None:
    """Lay the page out in the Blocks that is being built."""
    header("report")
    downloads = "".join(
        f'<a href="#" data-format="{format}" download>{name}</a>'
        for format, name in FORMATS.items()
    )
    gr.HTML(
        f'<div class="ds-report"><form class="ds-filter" inert><label>'
        f'<span id="days">{both("report.period")}</span> '
        f'<input name="days" type="range" min="{DAYS_MIN}" max="{DAYS_MAX}" value="{DAYS}" '
        'aria-labelledby="days">'
        f"<output><b>{DAYS}</b> <span data-many>{both('report.days')}</span>"
        f"<span data-one hidden>{both('report.day')}</span></output></label>"
        f'<span class="ds-state" role="status" hidden>{both("report.writing")}</span>'
        f'<span class="ds-downloads">{downloads}'
        f'<button type="button" name="print">{both("report.print")}</button></span></form>'
        f'<p class="ds-error" role="alert" hidden><span>{both("report.unreadable")} '
        "<span data-why></span></span></p>"
        f'<iframe sandbox="allow-same-origin allow-popups allow-popups-to-escape-sandbox '
        f'allow-modals" aria-labelledby="title"></iframe></div>',
        js_on_load=script("report"),
        apply_default_css=False,
        elem_classes="ds-report-block",
    )
