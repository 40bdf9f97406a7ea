"""An image by its address, as a person gives it to the Detect page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, scripts_held
from tests.security.test_image_addresses import Camera, camera
from tests.servers import Service

__all__ = ["camera"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, camera: Camera) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("address") / "home"
    with Service(home, pages=True, DAMOSCOPE_IMAGE_HOSTS=camera.url) as running:
        yield running.wait_until_ready()


def fetch(page: Page, address: str) -> None:
    expect(page.locator(".ds-address:not([inert])")).to_be_visible()
    page.get_by_label("Or its address").fill(address)
    page.keyboard.press("Enter")


def test_an_image_by_its_address(open_page: OpenPage, camera: Camera) -> None:
    """It is fetched, run and shown like one that was uploaded, and found again by its link."""
    page = open_page()
    fetch(page, f" {camera.url}/photo.jpg?token=secret ")
    expect(page).to_have_url(re.compile(r"/\?result=[0-9a-f]{32}"))
    expect(page.locator("#photo img")).to_be_visible()
    box = page.locator("#result .ds-box")
    expect(box.first).to_be_visible()
    found = box.count()
    expect(page.locator("body")).not_to_contain_text("secret")
    page.reload()
    expect(box).to_have_count(found)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/text.jpg", "web page, not a photograph"),
        ("/missing.jpg", "404"),
        ("/metadata", "169.254.169.254"),
    ],
)
def test_no_image_there(open_page: OpenPage, camera: Camera, path: str, said: str) -> None:
    """The page says why, and takes the next address."""
    page = open_page()
    fetch(page, camera.url + path)
    expect(page.locator("#result .ds-error, .ds-said").first).to_contain_text(said)
    fetch(page, f"{camera.url}/photo.jpg")
    expect(page.locator("#result .ds-box").first).to_be_visible()
    expect(page.locator(".ds-said")).to_have_count(0)


def test_before_anybody_listens(open_page: OpenPage) -> None:
    """Until the page's script is there, the field takes nothing: the browser itself would send
    what was typed as a form, and load the page anew."""
    page = open_page()
    with scripts_held(page, "files"):
        expect(page.locator(".ds-address[inert]")).to_be_visible()
    expect(page.locator(".ds-address:not([inert])")).to_be_visible()
