"""What is drawn anew by itself is not taken away under a finger: a click that has begun arrives."""

from __future__ import annotations

import itertools
import re

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_monitor import wait_for_rounds
from tests.browser.test_traces import refused
from tests.servers import Service


def press(page: Page, target: Locator) -> None:
    """Put the mouse's button down on it, once it keeps its place."""
    target.hover()
    page.mouse.down()


def test_monitor(open_page: OpenPage) -> None:
    """A fold that is pressed while the alerts change opens, and what has changed is drawn then."""
    page = open_page("/monitor?window=300&refresh=1")
    moments = itertools.count(1)

    def changed(route: Route) -> None:
        answer = route.fetch()
        told = answer.json() | {"source": "watcher", "evaluated_at": 1000 * next(moments)}
        route.fulfill(response=answer, json=told)

    page.route("**/api/v1/alerts?**", changed)
    wait_for_rounds(page, 2)
    title = page.locator(".ds-alerts > header time")
    press(page, page.locator(".ds-rules summary"))
    before = title.get_attribute("datetime")
    wait_for_rounds(page, 2)
    expect(title).to_have_attribute("datetime", str(before))
    page.mouse.up()
    expect(page.locator(".ds-rules [data-rule]").first).to_be_visible()
    expect(title).not_to_have_attribute("datetime", str(before))


def test_traces(open_page: OpenPage, service: Service) -> None:
    """An image that is pressed while others come is opened, and the others are listed then."""
    (first,) = refused(service, 1)
    page = open_page("/traces?code=invalid_image")
    press(page, page.locator(f'tr[data-trace="{first}"] td').nth(1))
    (second,) = refused(service, 1)
    for _ in range(2):  # of the first answer the question may be older
        with page.expect_response(re.compile(r"/pages/traces\?")):
            pass
    other = page.locator(f'tr[data-trace="{second}"]')
    expect(other).to_have_count(0)
    page.mouse.up()
    expect(page).to_have_url(re.compile(f"trace={first}"))
    expect(other).to_be_visible()
