"""Comparing on the Traces page: the slow images with the others, and two traces."""

from __future__ import annotations

import re
import time

from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.test_traces import refused
from tests.integration import pictures
from tests.servers import Service, eventually

GOOD, BAD = 22, 30


def sent(service: Service) -> list[str]:
    """Images that are detected and take long on any machine (12 million pixels of PNG are decoded
    whole), and many that are refused at once."""
    bad = refused(service, BAD)
    large = pictures.encoded(Image.new("RGB", (4000, 3000), (40, 90, 120)), "PNG")
    with service.client() as client:
        good = [
            client.post("/api/v1/detect", files={"image": large}).json()["trace_id"]
            for _ in range(GOOD)
        ]
        eventually(lambda: all(map(service.summary, good)), "all in the list")
    return [good[0], bad[0]]


def next_second() -> int:
    """The next whole second, once it is there: all that was begun before it is not counted."""
    begin_s = int(time.time()) + 1
    eventually(lambda: time.time() >= begin_s, "the next second")
    return begin_s


def test_comparing(open_page: OpenPage, service: Service) -> None:
    """The slow ones against the others are told by what they have; a part of the histogram is
    dragged; two traces stand side by side; all of it is in the address, and Back returns."""
    since = f"from={next_second()}"  # other tests' images are none of these
    slow, quick = sent(service)
    page = open_page(f"/traces?{since}&compare=1")
    expect(page.get_by_text(f"{GOOD + BAD} images")).to_be_visible()
    panel = page.locator(".ds-compare")
    expect(panel).to_contain_text("Too few to say anything")
    bars = page.locator(".ds-histogram button")
    first, last = bars.nth(0), bars.nth(bars.count() - 1)
    expect(last).to_be_visible()
    begin, end = last.bounding_box(), bars.nth(2).bounding_box()
    assert begin is not None
    assert end is not None
    page.mouse.move(begin["x"] + 2, begin["y"] + 20)
    page.mouse.down()
    page.mouse.move(end["x"] + 2, end["y"] + 20, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile("min_duration_ms="))
    expect(last).to_have_attribute("aria-pressed", "true")
    expect(first).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="What is different about the selected ones?").click()
    with service.client() as client:
        asked = {"order": "slowest", "limit": GOOD, "from": since.removeprefix("from=")}
        least = client.get("/api/v1/traces", params=asked).json()[-1]["duration_ms"]
    page.goto(f"{service.url}/traces?{since}&min_duration_ms={least}&compare=1")
    expect(panel).to_contain_text("Where the time goes")
    expect(panel).to_contain_text("Error code invalid_image")
    page.go_back()

    page.goto(f"{service.url}/traces?trace={slow}")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator(".ds-pick")).to_be_visible()
    page.get_by_role("button", name="Failed").click()
    page.locator(f'tr[data-trace="{quick}"] a').click()
    expect(page).to_have_url(re.compile(f"trace={slow}.*with={quick}"))
    expect(panel).to_contain_text("Attributes that differ")
    expect(panel).to_contain_text("damoscope.problem.code")
    expect(page.locator(".ds-pick")).to_be_hidden()
    page.go_back()
    expect(page.locator(f'.ds-waterfall[data-trace="{slow}"]')).to_be_visible()


def test_what_filters_can_be_set_to(open_page: OpenPage, service: Service) -> None:
    """Labels, workers and models of those that are ready, and the codes of errors, are offered."""
    page = open_page("/traces")
    page.get_by_text("More filters").click()
    offered = (
        "(name) => [...document.querySelectorAll(`#ds-known-${name} option`)].map((o) => o.value)"
    )
    page.wait_for_function(f"({offered})('label').length > 0")
    assert page.evaluate(offered, "label") == ["phone"]
    assert len(page.evaluate(offered, "worker")) == 1
    assert "invalid_image" in page.evaluate(offered, "code")
