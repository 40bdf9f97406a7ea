"""The API reference in a real browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import OpenPage


def test_the_api_reference_needs_no_internet(open_page: OpenPage) -> None:
    """/docs shows every operation, with scripts and styles of our own server."""
    page = open_page("/docs")
    expect(page.get_by_text("/api/v1/detect").first).to_be_visible()
    expect(page.get_by_text("/api/v1/traces/{trace_id}").first).to_be_visible()


def test_back_to_the_pages(open_page: OpenPage) -> None:
    """What is alike stands together, in the theme that was chosen; a link leads back."""
    page = open_page("/docs", color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(11, 18, 32)")
    for tag in ("images", "traces", "figures", "alerts", "models"):
        expect(page.locator(f"#operations-tag-{tag}")).to_be_visible()
    page.context.add_cookies([{"name": "damoscope_theme", "value": "light", "url": page.url}])
    page.reload()
    expect(page.locator("body")).not_to_have_css("background-color", "rgb(11, 18, 32)")
    page.get_by_role("link", name="← damoscope").click()
    expect(page.locator("#photo input[type=file]")).to_be_attached()
