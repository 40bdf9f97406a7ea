"""Addresses over a restart of the service: what was seen is seen again."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS
from tests.browser.test_alerts import RULES, failing
from tests.browser.test_detect import choose, trace_of
from tests.browser.test_monitor import card
from tests.paths import NO_OBJECTIVES
from tests.servers import Service, eventually, free_port


def test_what_was_seen_is_seen_again(browser: Browser, tmp_path: Path, photo: Path) -> None:
    """A result, its trace with the picture, the images of a search, a time on the Monitor page, an
    alert's history and the report, each by its address. Several images at once are on the same
    cards, with the pictures that are kept with their traces, and My images lead to the result of
    each."""
    (tmp_path / "alerts.yaml").write_text(RULES, encoding="utf-8")
    settings = {
        "DAMOSCOPE_ALERTS": str(tmp_path / "alerts.yaml"), "DAMOSCOPE_SLO": str(NO_OBJECTIVES),
        "DAMOSCOPE_SCORE_THRESHOLD": "0.02",
    }  # fmt: skip
    port, home = free_port(), tmp_path / "home"
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    began = time.time() - 60
    with Service(home, port=port, pages=True, **settings).wait_until_ready() as service:
        page.goto(service.url)
        choose(page, photo)
        trace = trace_of(page)
        expect(page).to_have_url(re.compile("result="))
        result, boxes = page.url, page.locator("#result .ds-box").count()
        batch, cards = _several(page, service, photo)
        service.spans(trace, 8)
        with failing(service):
            page.goto(f"{service.url}/monitor?alert=ManyFailures&refresh=1")
            expect(page.locator(".ds-firing")).to_contain_text("ManyFailures")
        expect(page.locator(".ds-firing")).to_be_empty()
        begin, end = (datetime.fromtimestamp(at, UTC) for at in (began, time.time()))
        span = f"from={begin:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"
        monitor = f"{service.url}/monitor?{span}"
        eventually(lambda: _is_told(service, span), "metrics and traces of all images")
        seen = _monitor(page, monitor)
        search = f"{service.url}/traces?{span}&status=ok"
        listed = _listed(page, search)
        assert listed == 3
    with Service(home, port=port, pages=True, **settings).wait_until_ready():
        page.goto(result)
        assert trace_of(page) == trace
        expect(page.locator("#result .ds-box")).to_have_count(boxes)
        page.locator("#result .ds-trace").click()
        expect(page).to_have_url(re.compile(f"trace={trace}"))
        expect(page.locator(".ds-waterfall")).to_have_attribute("data-trace", trace)
        expect(page.locator(".ds-seen img")).to_have_js_property("naturalWidth", 320)
        page.go_back()
        assert trace_of(page) == trace
        # As a browser that does not have the pictures still.
        context.new_cdp_session(page).send("Network.clearBrowserCache")
        page.goto(batch)
        expect(page.locator('.ds-several[data-done="1"] .ds-card')).to_have_count(len(cards))
        assert page.locator(".ds-card footer").all_inner_texts() == cards
        for picture in page.locator(".ds-card img").all():
            expect(picture).to_have_js_property("naturalWidth", 320)
        page.reload()
        expect(page.locator('.ds-several[data-done="1"] .ds-card')).to_have_count(len(cards))
        page.locator(".ds-card a[data-open]").first.click()
        expect(page.locator("dialog .ds-view")).to_be_visible()
        page.locator('dialog [data-do="close"]').click()
        page.get_by_role("tab", name="One image").click()
        page.locator(".ds-mine summary").click()
        page.locator(".ds-mine ol a[data-result]").nth(2).click()
        assert trace_of(page) == trace
        assert _monitor(page, monitor) == seen
        assert _listed(page, search) == listed
        page.goto(monitor.split("?")[0] + "?alert=ManyFailures")
        expect(page.locator('[data-rule="ManyFailures"]')).to_have_class("ds-pointed")
        expect(page.locator('[data-episode="ManyFailures"]')).to_have_count(1)
        page.goto(monitor.split("monitor")[0] + "report?days=1")
        expect(page.frame_locator("iframe").locator("body")).to_contain_text("ManyFailures")
    context.close()


def _is_told(service: Service, span: str) -> bool:
    """Whether all images of a time that is over are in the metrics as well as in the traces."""
    with service.client() as client:
        counted = client.get(f"/api/v1/stats?{span}").json()["requests"]
        listed = client.get(f"/api/v1/traces/histogram?{span}").json()["total"]
    return bool(sum(counted.values()) == listed > 0)


def _several(page: Page, service: Service, photo: Path) -> tuple[str, list[str]]:
    """Two more images at once: their address, and what their cards say."""
    page.goto(service.url)
    page.get_by_role("tab", name="Several images").click()
    page.locator("#photos input[type=file]").set_input_files([photo, photo])
    expect(page.locator('.ds-several[data-done="1"] .ds-card')).to_have_count(2)
    expect(page).to_have_url(re.compile("batch="))
    return page.url, page.locator(".ds-card footer").all_inner_texts()


def _monitor(page: Page, address: str) -> list[str]:
    """What the cards say of a time that is over."""
    page.goto(address)
    names = ("requests", "success_rate", "latency_p95_ms", "detections_per_image")
    expect(card(page, "requests")).to_have_text(re.compile("[1-9]"))
    return [card(page, name).inner_text() for name in names]


def _listed(page: Page, address: str) -> int:
    """How many images a search lists."""
    page.goto(address)
    rows = page.locator(".ds-rows tr[data-trace]")
    expect(rows.first).to_be_visible()
    return rows.count()
