"""Two models side by side: which one an image has is chosen on the Detect page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_detect import choose, trace_of
from tests.browser.test_result import copied
from tests.integration.test_model_use import SHIPPED, install
from tests.integration.test_models_beside import served
from tests.servers import Service

#: That of one image, once the page knows what is served.
CHOICE = '[data-choices="one"]:not([inert]) [data-models]'
SCORE = "#one-score input[type=number]"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The bundled model, and a copy of it that calls what it finds by another name."""
    home = tmp_path_factory.mktemp("models") / "home"
    home.mkdir()
    install(home, "mine", "handset")
    with Service(
        home, pages=True, DAMOSCOPE_WORKERS="1", DAMOSCOPE_MODELS_BESIDE="mine=1"
    ) as running:
        running.wait_until_ready()
        with running.client() as client:
            served(client)
        yield running


def labels(page: Page) -> set[str]:
    """What the boxes of the result are called."""
    expect(page.locator("#result .ds-box").first).to_be_visible()
    return {text.split()[0] for text in page.locator("#result .ds-box em").all_inner_texts()}


def asked(page: Page) -> list[str | None]:
    """The models that frames of the camera ask for from now on."""
    models: list[str | None] = []

    def note(request: Request) -> None:
        if "/api/v1/detect" in request.url:
            models.append(parse_qs(urlsplit(request.url).query).get("model", [None])[0])

    page.on("request", note)
    return models


def test_one_image(open_page: OpenPage, photo: Path) -> None:
    """Another model is another run, at its own thresholds. The address, the copied command and a
    reload say which it was; what cannot be run again is marked."""
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choice = page.locator(CHOICE)
    expect(choice).to_be_visible()
    options = choice.locator("option").all_inner_texts()
    assert [text.rsplit(" ", 1)[0] for text in options] == [f"default: {SHIPPED}", "mine"]
    expect(page.locator(SCORE)).not_to_have_value("0.3")  # but what the model has for its own
    own = page.locator(SCORE).input_value()
    choose(page, photo)
    first = trace_of(page)
    choice.select_option("mine")
    expect(page.locator(SCORE)).to_have_value("0.01")
    expect(page.locator("#result .ds-result")).not_to_have_attribute("data-trace", first)
    expect(page.locator("#result .ds-outdated")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"\?result=[0-9a-f]{32}&model=mine$"))
    assert labels(page) == {"handset"}
    expect(page.locator("#result .ds-downloads")).to_contain_text("mine · cpu")
    assert "&model=mine" in copied(page)
    second = trace_of(page)
    page.reload()
    assert trace_of(page) == second
    expect(choice).to_have_value("mine")
    expect(page.locator("#result .ds-outdated")).to_be_hidden()
    choice.select_option("")
    expect(page.locator("#result .ds-outdated")).to_contain_text("Found by another model. Choose")
    page.go_back()
    expect(choice).to_have_value("")
    expect(page.locator("#result .ds-result")).to_have_attribute("data-trace", first)
    expect(page.locator(SCORE)).to_have_value(own)
    expect(page.locator("#result .ds-outdated")).to_be_hidden()
    assert own not in ("", "0.01")


def test_several_images(open_page: OpenPage, photo: Path) -> None:
    """All of them by the model that was chosen, as their address says; another is another run."""
    page = open_page()
    page.get_by_role("tab", name="Several images").click()
    choice = page.locator('[data-choices="several"]:not([inert]) [data-models]')
    choice.select_option("mine")
    page.locator("#photos input[type=file]").set_input_files([photo])
    cards = page.locator('.ds-several[data-done="1"] .ds-card')
    expect(cards).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?batch=[0-9a-f]{32}&.*model=mine"))
    expect(page.locator("#results td", has_text="handset").first).to_be_visible()
    outdated = page.locator("#results .ds-batch > .ds-outdated")
    expect(outdated).to_be_hidden()
    choice.select_option("")
    expect(outdated).to_contain_text("Found by another model. Press Detect")
    page.reload()
    expect(cards).to_have_count(1)
    expect(choice).to_have_value("mine")
    expect(outdated).to_be_hidden()


def test_a_model_that_nobody_serves_any_more(open_page: OpenPage, photo: Path) -> None:
    """A page that was opened before says so, in its language; the image counts as refused."""
    page = open_page(locale="zh-CN")
    choice = page.locator(CHOICE)
    expect(choice.locator("option").first).to_contain_text("默认：")
    choice.evaluate("(field) => { field.options[1].value = 'gone'; field.value = 'gone'; }")
    choose(page, photo)
    expect(page.locator("#result .ds-error")).to_contain_text("没有工作进程提供模型 gone")
    with_trace = page.locator("#result .ds-error a")
    expect(with_trace).to_have_attribute("href", re.compile("traces"))


def test_what_is_served(open_page: OpenPage) -> None:
    """The Model page says how to ask for each, and who looks."""
    page = open_page("/model")
    section = page.locator(".ds-part-of", has=page.get_by_role("heading", name="Side by side"))
    expect(section.locator("tbody tr")).to_have_count(1)
    assert section.locator("td").all_inner_texts() == ["mine", "model=mine", "1", "0"]


def test_on_a_narrow_screen(open_page: OpenPage) -> None:
    """Nothing is wider than the screen."""
    page = open_page(viewport={"width": 390, "height": 844})
    expect(page.locator(CHOICE)).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_still_takes_the_choice_along(open_page: OpenPage) -> None:
    """Frames of the camera ask for what is chosen there, and so does a still of it."""
    page = open_page(permissions=["camera"])
    page.evaluate(FAKE_CAMERA)
    page.get_by_role("tab", name="Camera").click()
    choice = page.locator(".ds-camera form:not([inert]) [data-models]")
    choice.select_option("mine")
    models = asked(page)
    page.locator('.ds-camera [data-do="live"]').click()
    expect(page.locator('.ds-camera [data-figure="frames"]')).not_to_have_text("0")
    expect(page.locator(".ds-camera .ds-frames tbody tr").first).to_be_visible()
    assert set(models) == {"mine"}
    page.locator('.ds-camera [data-do="still"]').click()
    expect(page).to_have_url(re.compile(r"\?result=[0-9a-f]{32}&.*model=mine"))
    expect(page.locator(CHOICE)).to_have_value("mine")
    shown = page.locator("#result .ds-result").get_attribute("data-shown")
    assert json.loads(shown or "{}")["model"] == "mine"


#: A canvas in place of a camera: this Chromium has none.
FAKE_CAMERA = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
  const pen = canvas.getContext("2d");
  setInterval(() => {
    pen.fillStyle = `hsl(${Math.round(performance.now() / 20) % 360} 60% 50%)`;
    pen.fillRect(0, 0, 320, 240);
  }, 40);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(15);
}"""
