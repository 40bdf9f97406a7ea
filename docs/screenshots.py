"""The pictures of the README, taken from a running service in headless Chromium.

python docs/screenshots.py http://127.0.0.1:7860
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
EXAMPLE = DOCS.parent / "examples" / "several.jpg"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        for _ in range(2):  # the first one also fills caches
            page.locator("input[type=file]").first.set_input_files(EXAMPLE)
            page.get_by_text("Open the trace").wait_for()
            page.wait_for_timeout(1500)
            link = page.get_by_text("Open the trace").evaluate("a => a.href")
            page.screenshot(path=DOCS / "detect.png", full_page=True)
            page.reload()
        page.goto(str(link))
        page.get_by_text("inference", exact=True).first.click()
        page.wait_for_timeout(1500)
        page.screenshot(path=DOCS / "trace.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
