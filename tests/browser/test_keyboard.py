"""Pages by the keyboard alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage


@pytest.mark.parametrize("path", ["/", "/model"])
def test_the_way_past_the_header(open_page: OpenPage, path: str) -> None:
    """The first stop of Tab on a page: it is seen then, and leads to what follows the header."""
    page = open_page(path)
    expect(page.locator(".ds-state[data-ready=true]")).to_be_visible()
    page.keyboard.press("Tab")
    skip = page.locator(".ds-skip:focus")
    expect(skip).to_be_in_viewport()
    skip.press("Enter")
    reached = page.locator(":focus")
    expect(reached).to_have_attribute("tabindex", "-1")
    assert reached.evaluate(
        "at => Boolean(document.querySelector('.ds-header').compareDocumentPosition(at)"
        " & Node.DOCUMENT_POSITION_FOLLOWING)"
    )
