"""The Monitor page: its frame, and the files that its script is made of.

The script asks the documented HTTP API for everything that it shows, so that page and API
cannot disagree. What is chosen is in the page's address.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

import gradio as gr
from fastapi import FastAPI

from frontend.pages import modules
from frontend.pages.error_text import CHINESE_KINDS
from frontend.pages.header import header
from frontend.pages.i18n import EN, ZH, Texts, both
from frontend.pages.monitor import plotly

#: Seconds that the page can look back.
WINDOWS_S = (60, 300, 900, 3600, 21600, 86400, 604800, 2592000)
#: Seconds between two refreshes; 0 is never.
REFRESH_S = (0, 1, 2, 5, 10, 30, 60)
DEFAULT_WINDOW_S, DEFAULT_REFRESH_S = 900, 5
#: Plots by the names that the script knows them by, in their order on the page.
PLOTS = ("qps", "latency", "stages", "heatmap", "queue", "batch", "utilisation")
#: Beginnings of the texts that the script needs.
TEXTS = ("monitor.", "outcome.", "stage.", "traces.", "nav.detect")
#: Where the script's modules are served.
STATIC = "/pages/monitor"


def build() -> None:
    """Lay the page out in the Blocks that is being built."""
    header("monitor")
    gr.HTML(
        _frame(),
        js_on_load=modules.start(f"{STATIC}/main.js"),
        apply_default_css=False,
        elem_classes="ds-monitor-block",
    )


def install(app: FastAPI) -> None:
    """Serve the script's modules and plotly.js, both from this very service."""
    app.include_router(plotly.router())
    modules.install(app, STATIC, Path(__file__).parent / "static")


def _frame() -> str:
    texts = escape(json.dumps({"en": _needed(EN), "zh": _needed(ZH)}, ensure_ascii=False))
    return (
        f'<div class="ds-monitor" data-texts="{texts}" data-plotly=".{plotly.ADDRESS}" '
        f'data-window="{DEFAULT_WINDOW_S}" data-refresh="{DEFAULT_REFRESH_S}">'
        f'{_controls()}<div class="ds-banner" role="alert" hidden></div>'
        '<div class="ds-firing" aria-live="polite"></div>'
        f'<h2 class="ds-hidden" id="figures">{both("monitor.figures")}</h2>'
        '<section class="ds-figures" aria-labelledby="figures"></section>'
        '<div class="ds-never" hidden></div>'
        f'<section class="ds-plots">{"".join(map(_plot, PLOTS))}{_capacity()}</section>'
        '<section class="ds-marks" hidden></section>'
        f'<p class="ds-all"><a class="ds-images" href="traces">{both("monitor.images")}</a></p>'
        f'<section class="ds-extremes">{_table("slowest")}{_table("failed")}</section>'
        # Where nothing below jumps away from a click when it comes.
        '<section class="ds-slo" hidden></section>'
        '<section class="ds-alerts" id="alerts"></section></div>'
    )


def _needed(words: Texts) -> dict[str, str]:
    causes = {f"cause.{kind}": text for kind, text in CHINESE_KINDS.items()} if words is ZH else {}
    return {key: text for key, text in words.items() if key.startswith(TEXTS)} | causes


def _controls() -> str:
    windows = "".join(
        f'<button type="button" value="{window}" aria-pressed="false">'
        f"{both(f'monitor.window.{window}')}</button>"
        for window in WINDOWS_S
    )
    paces = "".join(
        f'<option value="{pace}">{pace} s</option>' if pace else '<option value="0">–</option>'
        for pace in REFRESH_S
    )
    return (
        # Until its script listens to it: what is clicked before would be lost.
        '<form class="ds-filter" inert><div class="ds-choice" role="group" '
        f'aria-labelledby="windows"><span class="ds-hidden" id="windows">{both("monitor.window")}'
        f"</span>{windows}</div>"
        f'<button type="button" class="ds-ranged" aria-pressed="false">{both("monitor.range")}'
        f"</button>{_range()}"
        f'<label>{both("monitor.refresh")} <select name="refresh">{paces}</select></label>'
        f'<button type="submit">{both("monitor.now")}</button>'
        f'<button type="button" data-wall>{both("monitor.wall")}</button>'
        '<span class="ds-asof">&nbsp;</span></form>'
    )


def _range() -> str:
    fields = "".join(
        f"<label>{both(f'monitor.{name}')} "
        f'<input name="{name}" type="datetime-local" step="1"></label>'
        for name in ("from", "to")
    )
    return f'<span class="ds-range" hidden>{fields}</span>'


def _plot(name: str) -> str:
    return (
        f'<figure class="ds-plot" data-plot="{name}"><figcaption>'
        f"<h3>{both(f'monitor.plot.{name}')}</h3>"
        f"<p>{both(f'monitor.plot.{name}.hint')}</p></figcaption>"
        '<div class="ds-canvas"></div></figure>'
    )


def _capacity() -> str:
    return (
        f'<section class="ds-plot ds-capacity"><h3>{both("monitor.capacity")}</h3>'
        '<p class="ds-verdict">&nbsp;</p><dl></dl></section>'
    )


def _table(name: str) -> str:
    return (
        f'<section class="ds-extreme" data-table="{name}">'
        f"<h3>{both(f'monitor.{name}')}</h3>"
        '<div class="ds-rows"></div></section>'
    )
