"""A page of which a part was lost on the way, as networks that change lose them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import PATIENCE_MS, OpenPage
from tests.servers import Service

#: The styles that Gradio's script asks for before it draws a component.
STYLES = "**/assets/*.css"


def losing(page: Page, most: int | None = None, parts: str = STYLES) -> list[str]:
    """Have so many parts at most be lost, or all; those that were."""
    lost: list[str] = []

    def lose(route: Route) -> None:
        if (most is None or len(lost) < most) and "index" not in route.request.url:
            lost.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route(parts, lose)
    return lost


@pytest.mark.parametrize(
    ("path", "part", "seen"),
    [
        ("/", STYLES, "#photo input[type=file]"),
        ("/", "**/pages/detect/one.js", "[data-choices=one]:not([inert])"),
        ("/", "**/pages/detect/hear.js", "[data-choices=one]:not([inert])"),
        ("/monitor", "**/pages/monitor/main.js", ".ds-figure"),
    ],
)
def test_it_is_loaded_again(
    open_page: OpenPage, service: Service, path: str, part: str, seen: str
) -> None:
    """And is whole then, whether the part was Gradio's or one of our own."""
    page = open_page("/docs")
    lost = losing(page, 1, part)
    page.goto(service.url + path, wait_until="commit")  # it may be loaded again before it is whole
    expect(page.locator(seen).first).to_be_attached()
    assert len(lost) == 1


def test_it_is_not_loaded_for_ever(browser: Browser, service: Service) -> None:
    """Where parts are lost again, the second time is the last, and the browser says why."""
    with browser.new_context() as context:
        page = context.new_page()
        losing(page)
        loads: list[str] = []
        page.on("load", lambda shown: loads.append(shown.url))
        with page.expect_event("pageerror", timeout=PATIENCE_MS) as said:
            page.goto(service.url + "/", wait_until="commit")
        assert "Unable to preload" in str(said.value)
        assert len(loads) <= 2
        assert page.evaluate("() => performance.getEntriesByType('navigation')[0].type") == "reload"


def test_a_page_that_is_left_is_not_loaded_again(open_page: OpenPage, service: Service) -> None:
    """What it loses then is lost because somebody goes elsewhere, and that is where they come."""
    page = open_page("/")
    expect(page.locator("#photo input[type=file]")).to_be_attached()
    page.evaluate(
        """() => window.addEventListener("beforeunload", () => {
          const lost = new Event("vite:preloadError", { cancelable: true });
          window.dispatchEvent(lost);
          sessionStorage.setItem("taken", lost.defaultPrevented);
        })"""
    )
    page.goto(service.url + "/monitor")
    expect(page.locator(".ds-figure").first).to_be_visible()
    assert page.evaluate("() => sessionStorage.getItem('taken')") == "false"
    assert page.evaluate("() => sessionStorage.getItem('damoscope_lost')") is None
