"""The login in a browser, and what the pages show to whom."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS
from tests.security.guarded import Guarded


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """`damoscope up` with keys of each role."""
    with Guarded(tmp_path_factory.mktemp("login") / "home") as running:
        yield running.wait_until_ready()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh profile."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1400, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    context.close()


def log_in(page: Page, guarded: Guarded, name: str, path: str) -> None:
    page.goto(guarded.url + path)
    page.get_by_label("Key").fill(guarded.keys[name])
    page.get_by_role("button", name="Log in").click()


def test_a_reader(page: Page, guarded: Guarded) -> None:
    """The page that was asked for comes after the login; what `read` may not do is not shown, and
    logging out leads back to the form."""
    page.goto(f"{guarded.url}/traces?status=error")
    page.get_by_label("Key").fill("damo_wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("is not valid")
    page.get_by_label("Key").fill(guarded.keys["board"])
    page.keyboard.press("Enter")
    page.wait_for_url(f"{guarded.url}/traces?status=error")
    header = page.locator("header.ds-header")
    expect(header.locator(".ds-who")).to_contain_text("board")
    expect(header.get_by_role("link", name="Detect", exact=True)).to_be_hidden()
    expect(header.get_by_role("link", name="Monitor")).to_be_visible()
    header.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{guarded.url}/login")
    page.goto(f"{guarded.url}/monitor")
    expect(page.get_by_label("Key")).to_be_visible()


def test_who_sends_images(page: Page, guarded: Guarded) -> None:
    """`detect` has the Detect page alone: an example gives a result, without a way to a trace."""
    log_in(page, guarded, "camera-1", "/")
    header = page.locator("header.ds-header")
    expect(header.locator(".ds-who")).to_contain_text("camera-1")
    expect(header.get_by_role("link", name="Monitor")).to_be_hidden()
    page.goto(f"{guarded.url}/monitor")
    expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Key")).to_be_visible()
