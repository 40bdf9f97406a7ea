"""Results asked for by their address while the service does not answer: they are waited for, and
not said to be gone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_detect import choose, trace_of

KEPT = re.compile(r"/pages/(results/[0-9a-f]{32}|batches/[0-9a-f]{32}/view)$")
#: The page's clock, put forward by more than it waits.
A_MINUTE = 65_000


def one(page: Page, photo: Path) -> None:
    choose(page, photo)
    trace_of(page)
    expect(page).to_have_url(re.compile("result="))


def several(page: Page, photo: Path) -> None:
    page.get_by_role("tab", name="Several images").click()
    page.locator("#photos input[type=file]").set_input_files([photo, photo])
    expect(page.locator('.ds-several[data-done="1"] .ds-card')).to_have_count(2)
    expect(page).to_have_url(re.compile("batch="))


def again(page: Page) -> None:
    page.reload()


def look(page: Page) -> None:
    page.locator(".ds-card a").first.click()


KINDS = pytest.mark.parametrize(
    ("run", "ask", "place", "there"),
    [
        (one, again, "#result", ".ds-box"),
        (several, again, "#results", ".ds-card"),
        (several, look, "dialog.ds-open", ".ds-box"),
    ],
    ids=["one", "several", "one of several"],
)
Step = Callable[..., None]


@KINDS
def test_a_service_that_is_away_for_a_moment(
    open_page: OpenPage, photo: Path, run: Step, ask: Step, place: str, there: str
) -> None:
    """The result comes with the service: nobody has to ask again."""
    page = open_page()
    run(page, photo)
    lost: list[str] = []

    def lose(route: Route) -> None:
        lost.append(route.request.url)
        if len(lost) == 1:
            route.abort("connectionrefused")
        elif len(lost) <= 3:
            route.fulfill(status=(503, 429)[len(lost) - 2], body="")
        else:
            route.continue_()

    page.route(KEPT, lose)
    ask(page)
    expect(page.locator(place).locator(there).first).to_be_visible()
    expect(page.locator(place).locator(".ds-error")).to_have_count(0)
    assert len(lost) == 4


@KINDS
def test_a_service_that_stays_away(
    open_page: OpenPage, photo: Path, run: Step, ask: Step, place: str, there: str
) -> None:
    """After a minute the page says that there was no answer, not that the result is gone."""
    page = open_page()
    page.clock.install()
    run(page, photo)
    page.route(KEPT, lambda route: route.abort("connectionrefused"))
    with page.expect_event("requestfailed", lambda request: bool(KEPT.search(request.url))):
        ask(page)
    page.clock.fast_forward(A_MINUTE)
    error = page.locator(place).locator(".ds-error")
    expect(error).to_have_text(
        "The service gave no answer for a minute. Reload the page to ask again."
    )
    expect(page.locator(place).locator(there)).to_have_count(0)
