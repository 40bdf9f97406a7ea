"""Pages by the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import NARROW, WIDE
from tests.browser.conftest import OpenPage
from tests.browser.keyboard import walk
from tests.browser.test_detect import choose, trace_of
from tests.servers import Service, eventually

#: Brings a page to where it is walked through.
Scene = Callable[[Page, Path], None]


def result(page: Page, photo: Path) -> None:
    page.locator("#one-score input[type=number]").fill("0.5")
    choose(page, photo)
    expect(page.locator("#result .ds-box").first).to_be_visible()


def several(page: Page, photo: Path) -> None:
    page.get_by_role("tab").nth(1).click()
    page.locator("#several-score input[type=number]").fill("0.5")
    page.locator("#photos input[type=file]").set_input_files([photo])
    expect(page.locator('.ds-several[data-done="1"] .ds-card .ds-box').first).to_be_visible()


def camera(page: Page, photo: Path) -> None:
    page.get_by_role("tab").nth(2).click()
    expect(page.locator(".ds-camera .ds-filter:not([inert])")).to_be_visible()


def trace(page: Page, photo: Path) -> None:
    result(page, photo)
    page.locator("#result .ds-trace").click()
    expect(page.locator('.ds-waterfall[data-complete="1"]')).to_be_visible()
    expect(page.locator(".ds-seen img")).to_be_visible()
    still(page, photo)


def report(page: Page, photo: Path) -> None:
    """With an image in it, and whole: a frame that is filled only now would take the keyboard out
    of it, and in an empty report there is nothing to go to."""
    image = {"name": photo.name, "mimeType": "image/jpeg", "buffer": photo.read_bytes()}
    page.request.post(urljoin(page.url, "/api/v1/detect"), multipart={"image": image})
    told = urljoin(page.url, "/api/v1/report?days=7")
    eventually(lambda: page.request.get(told).json()["requests"], "the image in the report")
    page.reload()
    inside = page.frame_locator(".ds-report iframe[data-days]")
    expect(inside.locator("tr[data-outcome]").first).to_be_visible()


def still(page: Page, photo: Path) -> None:
    """A list that is drawn anew would take the stops away while they are counted."""
    expect(page.locator(".ds-rows > *").first).to_be_attached()
    box = page.locator(".ds-filter:not([inert]) input[name=auto]")
    if box.is_visible():  # on a narrow screen a trace covers the list
        box.uncheck()


def there(seen: str) -> Scene:
    """A page as it is opened, once `seen` is there."""
    return lambda page, photo: expect(page.locator(seen).first).to_be_attached()


#: Where each begins, and what is done there.
SCENES: dict[str, tuple[str, Scene]] = {
    "detect": ("/", there("#examples button")),
    "result": ("/", result),
    "several": ("/", several),
    "camera": ("/", camera),
    "trace": ("/", trace),
    "traces": ("/traces?window=86400", still),
    "comparing": ("/traces?window=86400&compare=1", there(".ds-compare > *")),
    "monitor": ("/monitor?window=3600&refresh=0", there(".ds-monitor[data-rounds]")),
    "ranged": (
        "/monitor?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z",
        there(".ds-monitor[data-rounds]"),
    ),
    "report": ("/report", report),
    "model": ("/model", there(".ds-model h2")),
}


@pytest.mark.parametrize("width", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scene", SCENES)
def test_tab_leads_through_all(
    open_page: OpenPage, photo: Path, scene: str, width: tuple[int, int]
) -> None:
    """Each stop is seen, the next is what is read next, and behind the last the page ends."""
    path, prepare = SCENES[scene]
    size = {"width": width[0], "height": width[1]}
    page = open_page(path, viewport=size, reduced_motion="reduce")
    expect(page.locator(".ds-state[data-ready=true]")).to_be_visible()
    prepare(page, photo)
    walked = walk(page, header=scene == "detect")
    assert walked.ends, walked.stops[-5:]
    assert len(walked.stops) > 10
    assert walked.unseen == []
    assert walked.backwards == []


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


def test_detect(open_page: OpenPage, photo: Path) -> None:
    """Enter opens the file dialog; the score is typed or moved by arrows, and arrows go from tab to
    tab."""
    page = open_page()
    expect(page.locator(".ds-state[data-ready=true]")).to_be_visible()
    number = page.locator("#one-score input[type=number]")
    expect(number).to_have_value("0.02")
    with page.expect_file_chooser() as dialog:
        page.locator("#photo button.upload-container").press("Enter")
    dialog.value.set_files(photo)
    trace_of(page)
    all_boxes = page.locator("#result .ds-box").count()
    number.press("Control+a")
    page.keyboard.type("0.6")
    expect(page.locator("#result .ds-box")).not_to_have_count(all_boxes)
    page.keyboard.press("Tab")
    expect(page.locator("#one-score input[type=range]")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(number).to_have_value("0.61")
    first, second, last = page.get_by_role("tab").all()
    first.press("ArrowRight")
    expect(second).to_be_focused()
    expect(second).to_have_attribute("aria-selected", "true")
    second.press("End")
    expect(last).to_have_attribute("aria-selected", "true")
    last.press("ArrowRight")
    expect(first).to_be_focused()
    expect(page.locator("#result .ds-box").first).to_be_visible()


def test_an_image_of_several_is_opened(open_page: OpenPage, photo: Path) -> None:
    """Enter enlarges it, arrows and Tab stay with it, Escape leads back to where one was."""
    page = open_page()
    several(page, photo)
    card = page.locator(".ds-card a[data-open]")
    card.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog.locator(".ds-box").first).to_be_visible()
    within = "() => Boolean(document.activeElement.closest('dialog'))"
    assert page.evaluate(within)
    for _ in range(30):
        page.keyboard.press("Tab")
        # The browser itself is on the way, and from there it goes on at the dialog's first.
        assert page.evaluate(within) or page.evaluate(
            "() => document.activeElement === document.body"
        )
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(card).to_be_focused()


def test_traces(open_page: OpenPage, service: Service, photo: Path) -> None:
    """A part of the histogram from one bar to another; a trace that covers the list takes the
    keyboard along, and gives it back."""
    page = open_page(viewport={"width": NARROW[0], "height": NARROW[1]})
    choose(page, photo)
    trace = trace_of(page)
    eventually(lambda: service.summary(trace), "the image in the list")
    page.goto(f"{service.url}/traces?id={trace}")
    row = page.locator(f'.ds-rows tr[data-trace="{trace}"] a')
    bars = page.locator(".ds-histogram button")
    bars.first.press("Enter")
    expect(bars.first).to_have_attribute("aria-pressed", "true")
    expect(bars.first).to_be_focused()
    bars.last.press("Shift+Enter")
    expect(bars.last).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile("duration_ms="))
    row.press("Enter")
    expect(page.locator(".ds-detail .ds-waterfall")).to_be_visible()
    expect(row).to_be_hidden()
    expect(page.locator(".ds-detail")).to_be_focused()
    page.locator(".ds-detail").get_by_role("link", name="Close").press("Enter")
    expect(row).to_be_focused()


def test_monitor(open_page: OpenPage) -> None:
    """A range is chosen and typed, and the keyboard stays where it is."""
    page = open_page("/monitor?refresh=0")
    hour = page.locator('.ds-monitor .ds-filter:not([inert]) button[value="3600"]')
    hour.press("Enter")
    expect(page).to_have_url(re.compile("window=3600"))
    expect(hour).to_be_focused()
    page.locator(".ds-ranged").press("Enter")
    begin = page.locator(".ds-monitor input[name=from]")
    before = page.url
    begin.focus()
    page.keyboard.press("ArrowUp")
    expect(page).not_to_have_url(before)
    expect(begin).to_be_focused()
