"""What axe-core finds wrong with a page: it runs in it, from the package that carries it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from playwright.sync_api import Page, expect

from tests.browser import layout

WIDE, NARROW = (1440, 900), (390, 844)
#: What cannot be changed here, by rule: where Gradio's own markup breaks it.
NOT_OURS = {
    # The button that opens the file dialog holds the dialog's own `<input>`.
    "nested-interactive": "#photos button",
}
#: Swagger UI's insides, which are its own, and what plotly.js draws: thousands of shapes that have
#: their figure's caption, and of which axe-core cannot tell the contrast.
RUN = """(others) => axe.run(
    { exclude: ["#swagger-ui", ".ds-canvas svg"].map((at) => [at]) },
    { resultTypes: ["violations"] },
).then((told) => told.violations.flatMap(({ id, nodes }) => nodes
    .filter(({ target }) => !document.querySelector(target[0])?.matches(others[id] ?? "nothing"))
    .map((at) => `${id}: ${at.target} ${at.html.slice(0, 200)} ${at.failureSummary}`)))"""
#: Gradio's colours glide when the theme changes: contrast is told once what ends has ended.
SETTLED = """() => document.getAnimations().every((each) => each.playState !== "running"
    || each.effect.getComputedTiming().endTime === Infinity)"""


@cache
def _source() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def findings(page: Page) -> list[str]:
    """Each element by which a rule is broken."""
    page.wait_for_function(SETTLED)
    page.evaluate(_source())
    return list(page.evaluate(RUN, NOT_OURS))


def everywhere(page: Page) -> Iterator[str]:
    """The findings, wide and narrow, in one theme each: the other way round in Chinese, so that
    each theme is seen in each width and in each language. Narrow, what layout.py knows as well."""
    chinese = page.evaluate("() => document.documentElement.dataset.lang") == "zh"
    for (width, height), dark in ((WIDE, chinese), (NARROW, not chinese)):
        page.emulate_media(color_scheme="dark" if dark else "light")
        expect(page.locator("body.dark")).to_have_count(int(dark))
        page.set_viewport_size({"width": width, "height": height})
        for each in [*findings(page), *(layout.faults(page) if width < WIDE[0] else ())]:
            yield f"{'dark' if dark else 'light'}, {width} px: {each}"
