"""The header that all pages have: on a telephone, and what it says of the service."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.servers import Service


@pytest.mark.parametrize("width", [360, 390])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_its_links_stand_in_one_line(open_page: OpenPage, locale: str, width: int) -> None:
    """Whichever the language, and none of them reaches beyond the screen."""
    page = open_page("/traces", locale=locale, viewport={"width": width, "height": 800})
    links = page.locator(".ds-header nav a")
    expect(links).to_have_count(6)
    expect(page.locator(".ds-state[data-ready=true]")).to_be_visible()
    # At one moment: what stands above them may still come.
    tops = links.evaluate_all("all => all.map((each) => each.getBoundingClientRect().y)")
    assert len(set(tops)) == 1, tops
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", ["/", "/traces", "/monitor", "/model"])
def test_a_service_that_stands_still(open_page: OpenPage, service: Service, path: str) -> None:
    """Its connections are open, and nothing comes: that is said as well, until it goes on."""
    page = open_page(path)
    state = page.locator(".ds-state")
    expect(state).to_contain_text("1 worker ready")
    (frontend,) = service.children("frontend")
    frontend.suspend()
    try:
        expect(state).to_have_text("the service does not answer")
    finally:
        frontend.resume()
    expect(state).to_contain_text("1 worker ready")
