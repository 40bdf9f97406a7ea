"""The pictures of the README and the docs, taken from a running service in headless Chromium.

The service is put under a real load for some minutes, images that cannot be answered in time
among them towards the end, so that an alert of the rules that ship with it fires.

    python docs/screenshots.py http://127.0.0.1:7860
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).parent
EXAMPLES = sorted((DOCS.parent / "examples").glob("*.jpg"))
EXAMPLE = DOCS.parent / "examples" / "several.jpg"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
#: Images per second, how they vary, and for how many seconds they come in all.
RATE_PER_S, LOAD_S = 6.0, 420.0
#: From when on one image in `HURRIED` is to be answered at once: late, so that the plots show the
#: change.
HURRY_AFTER_S, HURRIED = 150.0, 6


def main(url: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        detect(browser, url)
        with load(url):
            monitor(browser, url)
        report(browser, url)
        browser.close()


def detect(browser: Browser, url: str) -> None:
    """The Detect page and a trace."""
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
    page.close()


def monitor(browser: Browser, url: str) -> None:
    """The Monitor page under load, and its alerts once one fires."""
    page = browser.new_page(viewport={"width": 1440, "height": 1662})
    page.goto(f"{url}/monitor?window=300&refresh=5")
    page.locator(".ds-canvas[data-points]").nth(6).wait_for()
    page.locator(".ds-alert.firing").first.wait_for(timeout=1000 * LOAD_S)
    settle(page)
    page.screenshot(path=DOCS / "monitor.png")
    page.set_viewport_size({"width": 1280, "height": 900})
    settle(page)
    place = page.locator(".ds-alerts").evaluate(
        "(a) => ({y: a.getBoundingClientRect().top + scrollY, height: a.offsetHeight + 16})"
    )
    clip = {"x": 0.0, "width": 1280.0, "y": place["y"], "height": place["height"]}
    page.screenshot(path=DOCS / "alerts.png", full_page=True, clip=clip)
    page.close()


def report(browser: Browser, url: str) -> None:
    """The Report page of the last day."""
    page = browser.new_page(viewport={"width": 1280, "height": 1200})
    page.goto(f"{url}/report?days=1")
    page.frame_locator(".ds-report iframe").locator("h1").first.wait_for()
    page.wait_for_timeout(3000)
    page.screenshot(path=DOCS / "report.png")
    page.close()


def settle(page: Page) -> None:
    """Wait for a refresh and for what it draws."""
    page.wait_for_timeout(6000)


@contextmanager
def load(url: str) -> Iterator[None]:
    """Images come at random moments, now more, now fewer, until the block ends."""
    stop = threading.Event()
    photos = [path.read_bytes() for path in EXAMPLES]

    def send(client: httpx.Client, photo: bytes, timeout_s: float) -> None:
        headers = {"content-type": "image/jpeg"}
        params = {"timeout": timeout_s}
        client.post("/api/v1/detect", content=photo, headers=headers, params=params)

    def arrive() -> None:
        began = time.monotonic()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            while (past := time.monotonic() - began) < LOAD_S and not stop.is_set():
                hurried = past > HURRY_AFTER_S and random.randrange(HURRIED) == 0
                sent = (client, random.choice(photos), 0.002 if hurried else 30.0)
                threading.Thread(target=send, args=sent, daemon=True).start()
                wave = 1 + 0.6 * (int(past / 45) % 2)
                stop.wait(random.expovariate(RATE_PER_S * wave))
            stop.wait(5)

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
