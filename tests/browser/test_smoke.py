"""From a picture to its trace and the Monitor page: the same steps in Chromium and in Firefox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage
from tests.browser.firefox import FIREFOX, Firefox, firefox
from tests.servers import Service
from tests.spans import spans_of


class Visitor(Protocol):
    """What these steps do in a browser. Elements are named by selectors of CSS."""

    def goto(self, path: str) -> None: ...

    def until(self, script: str) -> Any:
        """Wait until the value of a script is true, and get it."""

    def click(self, selector: str) -> None: ...

    def choose(self, selector: str, path: Path) -> None: ...

    def press(self, key: str) -> None: ...


class Chromium:
    """The same by Playwright."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.url = page.url.rstrip("/")

    def goto(self, path: str) -> None:
        self.page.goto(self.url + path)

    def until(self, script: str) -> Any:
        return self.page.wait_for_function(script).json_value()

    def click(self, selector: str) -> None:
        self.page.locator(selector).first.click()

    def choose(self, selector: str, path: Path) -> None:
        self.page.locator(selector).set_input_files(path)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)


@pytest.fixture(params=["chromium", "firefox"])
def visitor(
    request: pytest.FixtureRequest, service: Service, tmp_path: Path
) -> Iterator[Chromium | Firefox]:
    """Either browser, before its first page. No script may fail in it, and no other host be asked:
    in Chromium `open_page` sees to that."""
    if request.param == "chromium":
        open_page: OpenPage = request.getfixturevalue("open_page")
        yield Chromium(open_page())
        return
    if not FIREFOX:
        reason = "Firefox is missing: install Debian's package `firefox-esr`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with firefox(tmp_path / "firefox", service.url) as opened:
        yield opened
        assert opened.wrong == []


def seen(selector: str) -> str:
    """Whether something is there, and to be seen."""
    return f"Boolean(document.querySelector('{selector}')?.checkVisibility())"


def count(selector: str) -> str:
    return f"document.querySelectorAll('{selector}').length"


def focus(visitor: Visitor, selector: str) -> None:
    """What waits for the page's scripts does not take it before."""
    visitor.until(
        "(at => { at?.focus(); return at !== null && document.activeElement === at; })"
        f"(document.querySelector('{selector}'))"
    )


def test_from_a_picture_to_its_trace(visitor: Visitor, photo: Path) -> None:
    """Boxes and times of a photo; the score slider filters them; its trace has picture and stages,
    and is found by its id; Monitor draws; the same in Chinese."""
    visitor.goto("/")
    visitor.until(seen(".ds-state[data-ready=true]"))
    visitor.until("document.querySelector('#one-score input[type=number]').value === '0.02'")
    visitor.choose("#photo input[type=file]", photo)
    visitor.until(count("#result .ds-box"))
    visitor.until(f"{count('#result .ds-legend b')} === 5")
    scores = "[...document.querySelectorAll('#result td:nth-child(2)')].map((at) => +at.innerText)"
    lowest = visitor.until(f"Math.min(...{scores})")
    assert lowest < 0.5
    focus(visitor, "#one-score input[type=range]")
    for step in range(3, 3 + round(100 * lowest)):
        visitor.press("ArrowRight")
        # Each key is heard before the next: it moves all that is shown.
        visitor.until(f"document.querySelector('#one-score input').value === '{step / 100:g}'")
    visitor.until(f"Math.min(...{scores}) > {lowest}")
    visitor.until(f"{count('#result .ds-box')} === {count('#result tbody tr')}")

    trace = visitor.until("document.querySelector('#result .ds-result').dataset.trace")
    visitor.click("#result .ds-trace")
    visitor.until(f"document.querySelector('.ds-waterfall')?.dataset.trace === '{trace}'")
    visitor.until(seen('.ds-waterfall[data-complete="1"]'))
    visitor.until("document.querySelector('.ds-seen img')?.naturalWidth === 320")
    names = "[...document.querySelectorAll('.ds-span')].map((at) => at.dataset.name).join()"
    assert visitor.until(names).split(",") == list(spans_of("detect (page)"))

    visitor.click(".ds-header nav a[href=traces]")
    visitor.until("location.search === ''")  # the page that had the trace is gone
    focus(visitor, ".ds-filter input[name=id]")
    for letter in trace:
        visitor.press(letter)
    visitor.press("Enter")
    visitor.until(seen(f'.ds-rows tr[data-trace="{trace}"]'))
    visitor.until(f"{count('.ds-rows tr[data-trace]')} === 1")

    visitor.click(".ds-header nav a[href=monitor]")
    visitor.until(f"{count('.ds-canvas[data-points] .main-svg')} >= 7")
    visitor.click("[data-choose=language]")
    visitor.until("document.documentElement.lang === 'zh-CN'")
    visitor.until("document.querySelector('.ds-state')?.innerText.includes('个工作进程就绪')")
    visitor.until(f"{count('.ds-canvas[data-points] .main-svg')} >= 7")
