"""The stills of docs/detect.md, one after the other as a person sees them: a photograph comes in,
its threshold is moved, its trace, two traces side by side, and the link as somebody else opens it.

    python docs/stills.py http://127.0.0.1:7860
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE = {"width": 1280, "height": 830}
PATIENCE_MS, QUALITY = 60_000, 62


def main(url: str) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = visitor(browser)
        page.goto(url)
        choose(page, "photo-several.jpg")  # fills caches, and is there to be compared with
        page.goto(url)
        link = detect(page)
        traces(page)
        share(browser, link)
        browser.close()


def visitor(browser: Browser) -> Page:
    """A page of a browser that was never here."""
    page = browser.new_context(viewport=SIZE, device_scale_factor=1).new_page()
    page.set_default_timeout(PATIENCE_MS)
    return page


def choose(page: Page, name: str) -> None:
    page.locator("#photo input[type=file]").set_input_files(EXAMPLES / name)
    expect(page.locator("#result .ds-result")).to_be_visible()
    page.locator("#result img").evaluate("image => image.decode()")


def detect(page: Page) -> str:
    """The photograph's boxes, those of a lower score, and the address of both."""
    choose(page, "several.jpg")
    still(page, 1)
    page.locator("#one-score input[type=number]").fill("0.2")
    expect(page).to_have_url(re.compile(r"score=0\.2"))
    still(page, 2)
    return page.url


def traces(page: Page) -> None:
    """Where its time went, and against another image's."""
    page.locator("#result .ds-trace").click()
    expect(page.locator(".ds-seen img")).to_have_js_property("complete", True)
    page.locator(".ds-seen").scroll_into_view_if_needed()
    still(page, 3)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator(".ds-rows tr[data-trace]").nth(1).locator("a").first.click()
    expect(page.get_by_role("heading", name="Two traces")).to_be_visible()
    still(page, 4)


def share(browser: Browser, link: str) -> None:
    """The link in another browser, which knows nothing but the link."""
    page = visitor(browser)
    page.goto(link)
    expect(page.locator("#result img")).to_have_js_property("complete", True)
    still(page, 5)


def still(page: Page, number: int) -> None:
    page.mouse.move(0, 0)
    page.wait_for_timeout(700)  # until what moves has come to rest
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.save(DOCS / f"still-{number}.webp", quality=QUALITY, method=6)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
