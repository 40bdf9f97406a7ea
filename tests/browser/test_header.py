"""The header that all pages have, on a telephone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage


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
