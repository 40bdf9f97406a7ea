"""Several images on the Detect page: found again among many, looked at, given up."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect
from redis import Redis

from tests.browser.conftest import OpenPage, scripts_held
from tests.faults.test_clients import no_worker_takes, waiting
from tests.integration import pictures
from tests.servers import eventually

#: More than one page of cards.
COUNT = 30


def open_tab(open_page: OpenPage) -> Page:
    page = open_page()
    page.get_by_role("tab", name="Several images").click()
    return page


def test_found_again_among_many(open_page: OpenPage, photo: Path, tmp_path: Path) -> None:
    """Pages of cards, by what was found, sorted; a threshold moves all of them without another run;
    a card opens, and the keys go on to the next."""
    paths = [tmp_path / f"{number:02d}.jpg" for number in range(COUNT)]
    for number, path in enumerate(paths):
        path.write_bytes(pictures.jpeg(320, 240, number) if number else photo.read_bytes())
    paths[5].write_bytes(b"no image")
    page = open_tab(open_page)
    page.locator("#several-score input[type=number]").fill("0.5")
    page.locator("#photos input[type=file]").set_input_files(paths)
    cards = page.locator('.ds-several[data-done="1"] .ds-card')
    expect(cards).to_have_count(24)
    expect(page.locator(".ds-pages span")).to_have_text("1 to 24 of 30")
    assert page.evaluate("() => document.documentElement.scrollHeight") < 4000
    page.get_by_role("button", name="Further").click()
    expect(cards).to_have_count(6)
    expect(cards.last.locator("footer b")).to_have_text("29.jpg")

    see, order = page.locator("[name=see]"), page.locator("[name=order]")
    see.select_option("failed")
    expect(cards).to_have_count(1)
    expect(cards.locator(".ds-failure")).to_be_visible()
    see.select_option("found")
    expect(cards.first.locator("footer b")).to_have_text("00.jpg")
    with_findings = cards.count()
    page.locator("#several-score input[type=number]").fill("0.99")
    expect(cards).not_to_have_count(with_findings)
    see.select_option("all")
    page.locator("#several-score input[type=number]").fill("0.5")
    order.select_option("slowest")
    order.select_option("found")
    expect(cards.first.locator("footer b")).to_have_text("00.jpg")

    cards.first.locator("a").first.click()
    dialog = page.locator("dialog.ds-open")
    expect(dialog.locator(".ds-box").first).to_be_visible()
    expect(dialog.locator("header h2").first).to_have_text("00.jpg")
    page.keyboard.press("ArrowRight")
    expect(dialog.locator("header h2").first).not_to_have_text("00.jpg")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_cancelled(open_page: OpenPage, redis: Redis, tmp_path: Path) -> None:
    """Images that wait are taken back, and the page says that it was so."""
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(pictures.jpeg(320, 240, 50 + number))
    page = open_tab(open_page)
    with no_worker_takes(redis):
        page.locator("#photos input[type=file]").set_input_files(paths)
        expect(page.locator(".ds-several > header h2")).to_have_text("0 of 3 images")
        eventually(lambda: waiting(redis) == 3, "images in the queue")
        page.get_by_role("button", name="Cancel", exact=True).click()
        expect(page.locator(".ds-several .ds-outdated")).to_contain_text("Cancelled")
        eventually(lambda: waiting(redis) == 0, "an empty queue")


def test_their_address(open_page: OpenPage, photo: Path, redis: Redis, tmp_path: Path) -> None:
    """Back, forward and a reload show the same images at the same score; so does a reload in the
    middle, which takes back what waits. Nobody else finds them."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    page = open_tab(open_page)
    page.locator("#photos input[type=file]").set_input_files([photo, bad])
    cards = page.locator('.ds-several[data-done="1"] .ds-card')
    expect(cards).to_have_count(2)
    page.locator("#several-score input[type=number]").fill("0.41")
    expect(page).to_have_url(re.compile(r"/\?batch=[0-9a-f]{32}&score=0\.41$"))
    title = page.locator(".ds-several > header h2")
    said, address = title.inner_text(), page.url
    page.reload()
    expect(cards).to_have_count(2)
    expect(title).to_have_text(said)
    cards.first.get_by_role("link", name="Trace").click()
    expect(page).to_have_url(re.compile("traces"))
    page.go_back()
    expect(cards).to_have_count(2)
    expect(page.locator("#several-score input[type=number]")).to_have_value("0.41")
    page.get_by_role("tab", name="One image").click()
    page.locator("#photo input[type=file]").set_input_files(photo)
    expect(page).to_have_url(re.compile(r"/\?result="))
    page.go_back()
    expect(cards.first).to_be_visible()
    other = open_page("/" + address.split("/")[-1])
    expect(other.locator("#results .ds-error")).to_contain_text("has these images no longer")
    with no_worker_takes(redis):
        other.locator("#photos input[type=file]").set_input_files([photo, bad])
        heading = other.locator(".ds-several > header h2")
        expect(heading).to_contain_text(re.compile("^[01] of 2 images"))
        eventually(lambda: waiting(redis) == 1, "an image in the queue")
        other.reload()
        eventually(lambda: waiting(redis) == 0, "an empty queue")
    expect(other.locator(".ds-several .ds-outdated")).to_contain_text("Cancelled")


def test_a_folder(open_page: OpenPage, tmp_path: Path) -> None:
    """Of a folder the images are taken, in the order of their names, and nothing else of it."""
    folder = tmp_path / "camera" / "inner"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(pictures.jpeg(seed=61))
    (folder.parent / "b.JPG").write_bytes(pictures.jpeg(seed=62))
    (folder.parent / "notes.txt").write_text("no image")
    page = open_tab(open_page)
    page.locator("#given-several input").set_input_files(tmp_path / "camera")
    names = page.locator('.ds-several[data-done="1"] .ds-card footer b')
    expect(names).to_have_count(2)
    assert names.all_inner_texts() == ["b.JPG", "a.jpg"]
    expect(page.locator("#photos tr")).to_have_count(2)
    expect(page.locator(".ds-several > header h2")).to_have_text(re.compile("in 2 images$"))


def test_a_folder_before_anybody_listens(open_page: OpenPage, tmp_path: Path) -> None:
    """One that is chosen while the page's scripts are still on their way is not lost."""
    folder = tmp_path / "camera"
    folder.mkdir()
    for seed in (63, 64):
        (folder / f"{seed}.jpg").write_bytes(pictures.jpeg(seed=seed))
    page = open_tab(open_page)
    with scripts_held(page, "files"):
        page.get_by_role("tab", name="Several images").click()
        page.locator("#given-several input").set_input_files(folder)
    expect(page.locator('.ds-several[data-done="1"] .ds-card')).to_have_count(2)
