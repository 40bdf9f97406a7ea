"""A real Chromium and a real service. The browser is the system's own."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Route,
    expect,
    sync_playwright,
)

from tests.browser.camera import OpenCamera
from tests.integration import pictures
from tests.paths import ROOT
from tests.servers import Service

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

#: Generous: CI machines are busy.
PATIENCE_MS = 90_000
expect.set_options(timeout=PATIENCE_MS)

OpenPage = Callable[..., Page]


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`damoscope up` with the bundled model, which shows whatever it holds for possible.

    What its alert rules find has to last for a day: a busy machine raises no alert that moves a
    page while a test looks at it.
    """
    folder = tmp_path_factory.mktemp("pages")
    rules = yaml.safe_load((ROOT / "monitoring" / "alerts" / "alerts.yaml").read_text("utf-8"))
    for rule in rules["rules"]:
        rule["for"] = "1d"
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules, allow_unicode=True), "utf-8")
    settings = {
        "DAMOSCOPE_SCORE_THRESHOLD": "0.02", "DAMOSCOPE_ALERTS": str(folder / "alerts.yaml"),
    }  # fmt: skip
    with Service(folder / "home", pages=True, **settings) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. It ends with these tests: while it is open, Playwright keeps an event
    loop running in this thread."""
    if not CHROMIUM.exists():
        reason = f"{CHROMIUM} is missing: install Debian's package `chromium`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Motion JPEG of one example, which has a phone in it."""
    with Image.open(ROOT / "examples" / "desk.jpg") as photograph:
        frame = io.BytesIO()
        photograph.convert("RGB").resize((640, 480)).save(frame, "JPEG", quality=90)
    path = tmp_path_factory.mktemp("film") / "camera.mjpeg"
    path.write_bytes(frame.getvalue() * 10)
    return path


@pytest.fixture(scope="module")
def cameras(browser: Browser, film: Path) -> Iterator[Browser]:
    """A Chromium with a camera; whether a page may use it is each test's own matter."""
    launched = browser.browser_type.launch(
        executable_path=str(CHROMIUM),
        args=[
            *ARGUMENTS,
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={film}",
        ],
    )
    yield launched
    launched.close()


@pytest.fixture
def open_camera(cameras: Browser, service: Service) -> Iterator[OpenCamera]:
    """Opens the Detect page on its camera's tab; afterwards no script may have failed."""
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(*, permissions: tuple[str, ...] = ("camera",), **options: Any) -> Page:
        context = cameras.new_context(permissions=list(permissions), **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(service.url)
        page.get_by_role("tab", name=re.compile("Camera|摄像头")).click()
        expect(page.locator(".ds-camera form:not([inert])")).to_be_visible()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def open_page(browser: Browser, service: Service) -> Iterator[OpenPage]:
    """Opens an address of the service in a fresh browser profile.

    Afterwards no script may have failed and nothing have been fetched from elsewhere.
    """
    wrong: list[str] = []
    contexts = []

    def opened(path: str = "/", **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1400, "height": 900})
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on(
            "console",
            lambda said: (
                wrong.append(f"console: {said.text}")
                # The browser says this of every answer that is an error, which pages can handle.
                if said.type == "error" and "Failed to load resource" not in said.text
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((service.url, "data:", "blob:"))
                else wrong.append(f"fetched from elsewhere: {request.url}")
            ),
        )
        page.goto(service.url + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@contextmanager
def scripts_held(page: Page, name: str) -> Iterator[None]:
    """Loads the page anew, with a module of the Detect page still on its way."""
    held: list[Route] = []
    module = re.compile(rf"/{name}\.js")
    page.route(module, lambda route: held.append(route))
    with page.expect_request(module):
        page.reload(wait_until="commit")
    yield
    for route in held:
        route.continue_()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An example that ships with the project, or a picture of a phone where there is none."""
    examples = sorted((ROOT / "examples").glob("*.jpg"))
    if examples:
        return examples[0]
    path = tmp_path_factory.mktemp("photos") / "phone.jpg"
    path.write_bytes(pictures.phone())
    return path
