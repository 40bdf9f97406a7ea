"""The thresholds of the Detect page are the loaded model's own, once the service has told them:
whoever is quicker than its answer loses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_detect import choose, trace_of
from tests.servers import Service

#: What the tests' service has, and what a page is built with.
OWN, BUILT = "0.02", "0.3"


@contextmanager
def not_told(page: Page, address: str) -> Iterator[None]:
    """Loads a page whose question for the thresholds is answered at the end of the block."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        if (route.request.post_data_json or {}).get("data") == []:
            held.append(route)
        else:
            route.continue_()

    events = "**/gradio_api/run/predict"
    page.route(events, hold)
    page.goto(address)
    yield
    for route in held:
        route.continue_()
    page.unroute(events)


def number(page: Page, name: str) -> Locator:
    return page.locator(f"#{name} input[type=number]")


def test_what_was_set_before_stays(open_page: OpenPage, service: Service) -> None:
    """The one that somebody has moved; the others become the model's own."""
    page = open_page("/healthz")
    with not_told(page, f"{service.url}/"):
        number(page, "one-score").fill("0.61")
    page.get_by_role("tab", name="Several images").click()
    expect(number(page, "several-score")).to_have_value(OWN)
    page.get_by_role("tab", name="One image").click()
    expect(number(page, "one-score")).to_have_value("0.61")


def test_an_image_does_not_wait_for_them(
    open_page: OpenPage, service: Service, photo: Path
) -> None:
    """It is detected with what the sliders say; they take it along when they move."""
    with service.client() as client:
        asked = {"score_threshold": OWN, "max_detections": 500}
        answer = client.post("/api/v1/detect", params=asked, files={"image": photo.read_bytes()})
    every = len(answer.json()["detections"])
    page = open_page("/healthz")
    boxes = page.locator("#result .ds-box")
    with not_told(page, f"{service.url}/"):
        page.locator("#photo input[type=file]").set_input_files(photo)
        trace_of(page)
        expect(number(page, "one-score")).to_have_value(BUILT)
        assert boxes.count() < every
    expect(number(page, "one-score")).to_have_value(OWN)
    expect(boxes).to_have_count(every)
    expect(page.locator("#result .ds-outdated")).to_be_hidden()


def test_an_address_has_its_own(open_page: OpenPage, service: Service, photo: Path) -> None:
    """Also where it says what the sliders happen to say before, and of several images too."""
    page = open_page()
    choose(page, photo)
    trace_of(page)
    number(page, "one-score").fill(BUILT)
    expect(page).to_have_url(re.compile(rf"\?result=[0-9a-f]+&score={BUILT}$"))
    one = page.url
    page.get_by_role("tab", name="Several images").click()
    number(page, "several-score").fill(BUILT)
    page.locator("#photos input[type=file]").set_input_files(photo)
    cards = page.locator('.ds-several[data-done="1"] .ds-card')
    expect(cards).to_have_count(1)
    expect(page).to_have_url(re.compile(rf"\?batch=[0-9a-f]+&score={BUILT}$"))
    several = page.url
    for address, name, seen in (
        (one, "one-score", page.locator("#result .ds-box").first),
        (several, "several-score", cards),
    ):
        with not_told(page, address):
            expect(seen).to_be_visible()
        page.wait_for_function("() => document.told['ds-thresholds']")
        expect(number(page, name)).to_have_value(BUILT)
