"""The header's switches: a language and a theme that stay."""

from __future__ import annotations

import re

import pytest
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


@pytest.mark.parametrize("locale", ["zh", "zh-HK", "zh-Hans-SG"])
def test_any_chinese(open_page: OpenPage, locale: str) -> None:
    """A browser's Chinese need not name a country for Gradio's texts and ours to be Chinese."""
    page = open_page("/", locale=locale)
    expect(page.get_by_role("tab", name="单张图片")).to_be_visible()
    expect(page.locator(".ds-state")).to_contain_text("1 个工作进程就绪")


@pytest.mark.parametrize("locale", ["fr-FR", "zh-CN"])
def test_all_tabs_agree(open_page: OpenPage, locale: str) -> None:
    """What is chosen in one tab holds in the others that are open, with what they show; a tab whose
    camera is on, or that waits for images, follows once that is over."""
    page = open_page("/monitor?window=900", locale=locale)
    language, other, name = {"fr-FR": ("en", "zh-CN", "中文"), "zh-CN": ("zh-CN", "en", "English")}[
        locale
    ]
    expect(page.locator("html")).to_have_attribute("lang", language)
    second = page.context.new_page()
    second.goto(page.url.replace("/monitor", "/"))
    expect(second.locator(".ds-state[data-ready=true]")).to_be_visible()
    second.evaluate("() => document.querySelector('.ds-header').classList.add('ds-busy')")
    page.get_by_role("button", name=name).click()
    expect(page.locator("html")).to_have_attribute("lang", other)
    expect(page).to_have_url(re.compile("window=900"))
    expect(second.locator("html")).to_have_attribute("lang", language)
    second.evaluate("() => document.querySelector('.ds-header').classList.remove('ds-busy')")
    expect(second.locator("html")).to_have_attribute("lang", other)
    second.locator("[data-choose=theme]").click()
    expect(page.locator("body.dark")).to_have_count(1)
    expect(page).to_have_url(re.compile("window=900"))


#: What Gradio itself says on a page whose language has texts of its own.
GERMAN_OR_FRENCH = re.compile(r"(?i)\b(hochladen|hier|klicken|utiliser|via|télé|déposer|ou)\b")


def test_another_language_is_english_throughout(open_page: OpenPage) -> None:
    """German before French: ours, the service's, Gradio's own and dates are English."""
    page = open_page(
        "/", locale="de-DE", extra_http_headers={"accept-language": "de-DE,de;q=0.9,fr;q=0.8"}
    )
    for path in ("", "monitor", "traces", "report", "model"):
        page.goto(re.sub(r"(://[^/]+/).*", rf"\1{path}", page.url))
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.locator(".ds-header .ds-state")).to_contain_text("1 worker ready")
        said = page.locator("body").inner_text()
        said += " ".join(
            page.locator("[aria-label]").evaluate_all("all => all.map((each) => each.ariaLabel)")
        )
        assert not GERMAN_OR_FRENCH.search(said), said
    report = page.goto(re.sub("model$", "api/v1/report?format=html", page.url))
    assert report
    assert '<html lang="en"' in report.text()


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
