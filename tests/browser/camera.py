"""The Detect page's camera, as tests use it."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page

FRAMES = '.ds-camera [data-figure="frames"]'
DETECT = re.compile(r"/api/v1/detect")

OpenCamera = Callable[..., Page]


def do(page: Page, name: str) -> None:
    page.locator(f'.ds-camera [data-do="{name}"]').click()


def frames(page: Page, most: int = 1) -> None:
    """Wait until so many frames or more were answered."""
    page.wait_for_function(
        "([place, most]) => Number(document.querySelector(place)?.textContent) >= most",
        arg=[FRAMES, most],
    )
