"""The API reference in a real browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import OpenPage


def test_the_api_reference_needs_no_internet(open_page: OpenPage) -> None:
    """/docs shows every operation, with scripts and styles of our own server."""
    page = open_page("/docs")
    expect(page.get_by_text("/api/v1/detect").first).to_be_visible()
    expect(page.get_by_text("/api/v1/traces/{trace_id}").first).to_be_visible()
