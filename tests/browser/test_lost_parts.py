"""A page of which a part was lost on the way, as networks that change lose them."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.servers import Service

#: The styles that Gradio's script asks for before it draws a component.
STYLES = "**/assets/*.css"


def losing(page: Page, most: int) -> list[str]:
    """Have so many styles at most be lost; those that were."""
    lost: list[str] = []

    def lose(route: Route) -> None:
        if len(lost) < most and "index" not in route.request.url:
            lost.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route(STYLES, lose)
    return lost


def test_it_is_loaded_again(open_page: OpenPage, service: Service) -> None:
    """And is whole then."""
    page = open_page("/docs")
    lost = losing(page, 1)
    page.goto(service.url + "/")
    expect(page.locator("#photo input[type=file]")).to_be_attached()
    assert len(lost) == 1
