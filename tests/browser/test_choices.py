"""The header's switches: a language and a theme that stay."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage


def dark(page: Page) -> None:
    expect(page.locator("body.dark")).to_have_count(1)
    assert page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")


def test_a_language_stays(open_page: OpenPage) -> None:
    """Whoever chooses Chinese has it on every page: ours, what the service says, Gradio's own
    texts; and English again by the same button. What a browser speaks that we do not is English."""
    page = open_page("/", locale="fr-FR")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator(".ds-state")).to_contain_text("1 worker ready")
    expect(page.get_by_role("tab", name="One image")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("tab", name="单张图片")).to_be_visible()
    expect(page.locator(".ds-state")).to_contain_text("1 个工作进程就绪")
    page.goto(page.url + "monitor")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator(".ds-state")).to_contain_text("1 个工作进程就绪")
    page.reload()
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator(".ds-state")).to_contain_text("1 worker ready")


def test_a_theme_stays(open_page: OpenPage) -> None:
    """Until another is chosen, whatever the system's is; where both are the same again, the page
    follows the system. An address that says a theme has it, until one is chosen."""
    page = open_page("/traces", color_scheme="light")
    page.get_by_role("button", name="Dark theme").click()
    dark(page)
    assert "color-scheme: dark" in str(page.locator("html").get_attribute("style"))
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    page.goto(re.sub("traces$", "report", page.url))
    dark(page)
    # The report in its frame is as dark as the page.
    assert page.locator("iframe").evaluate("at => getComputedStyle(at).colorScheme") == "dark"
    page.get_by_role("button", name="Light theme").click()
    expect(page.get_by_role("button", name="Dark theme")).to_be_visible()
    page.emulate_media(color_scheme="dark")
    dark(page)
    page.goto(page.url + "?__theme=light")
    expect(page.get_by_role("button", name="Dark theme")).to_be_visible()
    page.get_by_role("button", name="Dark theme").click()
    dark(page)
    expect(page).not_to_have_url(re.compile("__theme"))


def test_what_cannot_be_chosen(open_page: OpenPage) -> None:
    """Cookies and an address that say nonsense, even names that every object in JavaScript has:
    the browser's language and the system's theme."""
    page = open_page("/healthz", locale="en-GB", color_scheme="dark")
    page.context.add_cookies(
        [{"name": f"damoscope_{what}", "value": value, "url": page.url}
         for what, value in (("language", "constructor"), ("theme", "valueOf"))]
    )  # fmt: skip
    page.goto(page.url.replace("/healthz", "/traces?__theme=toString"))
    expect(page.locator(".ds-state")).to_contain_text("1 worker ready")
    expect(page.locator("html")).to_have_attribute("data-lang", "en")
    dark(page)
