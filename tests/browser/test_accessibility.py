"""Pages by the rules of axe-core: in both languages and themes, wide and narrow."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import everywhere, findings
from tests.browser.conftest import OpenPage
from tests.browser.test_detect import choose, trace_of
from tests.servers import Service


@pytest.fixture(params=["en-GB", "zh-CN"])
def page(open_page: OpenPage, request: pytest.FixtureRequest) -> Page:
    """The Detect page, in each language, without movement."""
    opened = open_page(locale=request.param, reduced_motion="reduce")
    expect(opened.locator(".ds-state[data-ready=true]")).to_be_visible()
    return opened


def wrong(page: Page, seen: str) -> list[str]:
    """The findings once `seen` is there, at any width."""
    expect(page.locator(seen).first).to_be_attached()
    return list(everywhere(page))


def test_detect_and_its_trace(page: Page, service: Service, photo: Path) -> None:
    """Before an image and after it, several of them, one of these enlarged, and the trace."""
    assert wrong(page, "#photo") == []
    page.locator("#one-score input[type=number]").fill("0.5")
    choose(page, photo)
    trace = trace_of(page)
    expect(page.locator(".ds-wait")).to_be_hidden()
    assert wrong(page, "#result .ds-box") == []
    page.get_by_role("tab").nth(1).click()
    page.locator("#several-score input[type=number]").fill("0.5")
    page.locator("#photos input[type=file]").set_input_files([photo])
    assert wrong(page, '.ds-several[data-done="1"] .ds-card') == []
    page.locator(".ds-card a").first.click()
    assert wrong(page, "dialog .ds-box") == []
    service.spans(trace, 8)
    page.goto(f"{service.url}/traces?trace={trace}")
    page.locator(".ds-span summary").first.click()
    assert wrong(page, ".ds-details dl") == []


def test_other_pages(page: Page, service: Service) -> None:
    """The list of traces, comparing, the report, the model, Monitor and its wall, the reference."""
    for path, seen in (
        ("/traces?window=86400", ".ds-rows > *"),
        ("/traces?window=86400&compare=1", ".ds-compare > *"),
        ("/report", ".ds-report iframe[data-days]"),
        ("/model", ".ds-model h2"),
        ("/monitor?window=3600&refresh=0", ".ds-figure"),
    ):
        page.goto(service.url + path)
        expect(page.locator(seen).first).to_be_attached()
        page.evaluate(
            "() => document.querySelectorAll('details').forEach((it) => { it.open = 1; })"
        )
        assert wrong(page, seen) == [], path
    page.goto(f"{service.url}/monitor?window=3600&refresh=0&wall=1")
    expect(page.locator("html.ds-wall .ds-figure").first).to_be_visible()
    assert findings(page) == []
    page.goto(f"{service.url}/docs")
    expect(page.get_by_text("/api/v1/detect").first).to_be_visible()
    assert findings(page) == []
