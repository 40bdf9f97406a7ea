"""The Detect page, as a person uses it."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, OpenPage
from tests.integration import pictures
from tests.paths import ROOT
from tests.servers import Service


def choose(page: Page, path: Path) -> None:
    """Give a file to the image input, as a file dialog or a drop would, once the thresholds are the
    model's own: before, what is seen moves with them."""
    page.wait_for_function("() => document.told?.['ds-thresholds']")
    page.locator("#photo input[type=file]").set_input_files(path)


def trace_of(page: Page) -> str:
    """Trace id of the result that is shown."""
    shown = page.locator("#result .ds-result")
    expect(shown).to_be_visible()
    return str(shown.get_attribute("data-trace"))


def test_an_image_is_detected_at_once(open_page: OpenPage, photo: Path) -> None:
    """A chosen image shows its boxes, a table of the same, where time went, and downloads."""
    page = open_page()
    expect(page.locator(".ds-state")).to_have_text(re.compile(r"1 worker ready · .+ on cpu"))
    # The sliders stand where the loaded model's own thresholds are.
    expect(page.locator(".ds-score input[type=number]").first).to_have_value("0.02")
    choose(page, photo)
    boxes = page.locator("#result .ds-box")
    expect(boxes.first).to_be_visible()
    expect(page.locator("#result tbody tr")).to_have_count(boxes.count())
    expect(boxes.first.locator("em")).to_have_text(re.compile(r"^phone 0\.\d\d$"))
    stages = page.locator("#result .ds-legend li")
    assert stages.locator("span").all_inner_texts() == [
        "Upload", "Queue wait", "Preprocess", "Inference", "NMS",
    ]  # fmt: skip
    for figure in stages.locator("b").all_inner_texts():
        assert re.fullmatch(r"[\d.]+\u00a0(ms|s)", figure)
    width = page.locator("#result img").evaluate(
        "image => image.decode().then(() => image.naturalWidth)"
    )
    with Image.open(photo) as image:
        assert width == image.width


def test_what_is_downloaded(open_page: OpenPage, photo: Path) -> None:
    """The image with boxes has the size of the original; the JSON is what the page shows."""
    page = open_page()
    choose(page, photo)
    shown = trace_of(page)
    with page.expect_download() as image_download:
        page.get_by_role("link", name="Image with boxes").click()
    assert image_download.value.suggested_filename == f"{photo.stem}-boxes.jpg"
    with page.expect_download() as json_download:
        page.locator("#result").get_by_role("link", name="JSON").click()
    with Image.open(image_download.value.path()) as drawn, Image.open(photo) as original:
        assert drawn.size == original.size
    result = json.loads(json_download.value.path().read_text(encoding="utf-8"))
    assert result["trace_id"] == shown
    assert len(result["detections"]) == page.locator("#result .ds-box").count()


def test_the_button_runs_again(open_page: OpenPage, photo: Path) -> None:
    """Detect says what is missing without an image, and detects again with one."""
    page = open_page()
    button = page.get_by_role("button", name="Detect", exact=True)
    button.click()
    expect(page.locator("#result")).to_contain_text("Choose an image first.")
    choose(page, photo)
    first = trace_of(page)
    button.click()
    expect(page.locator("#result .ds-result")).not_to_have_attribute("data-trace", first)


def test_an_example_is_one_click(open_page: OpenPage) -> None:
    """Clicking an example detects on it."""
    if not list((ROOT / "examples").glob("*.jpg")):
        pytest.skip("this copy of the project has no examples")
    page = open_page()
    page.locator("#examples button").first.click()
    expect(page.locator("#result .ds-box").first).to_be_visible()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("report.jpg", b"%PDF-1.7\n" + bytes(2000), "This is a PDF, not a photograph."),
        ("half.jpg", pictures.jpeg()[:3000], "The JPEG is cut short: its last rows are missing."),
        ("big.jpg", bytes(21 * 2**20), "The upload has more than the 20,971,520 bytes allowed."),
    ],
)
def test_what_cannot_be_detected_is_one_clear_line(
    open_page: OpenPage, tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    """A file that is no image: one line says so, with its trace, and no other alarm."""
    path = tmp_path / name
    path.write_bytes(data)
    page = open_page()
    choose(page, path)
    expect(page.locator("#result .ds-error span")).to_have_text(message)
    expect(page.locator("[data-testid=toast-body]")).to_have_count(0)
    page.locator("#result .ds-error a").click()
    expect(page.locator(".ds-span.failed").first).to_be_visible()


def test_file_names_are_text(open_page: OpenPage, tmp_path: Path) -> None:
    """Markup in a file's name is shown, never run."""
    path = tmp_path / "<img src=x onerror=document.title=1>.jpg"
    path.write_bytes(pictures.jpeg())
    page = open_page()
    page.get_by_role("tab", name="Several images").click()
    page.locator("#photos input[type=file]").set_input_files(path)
    expect(page.locator('.ds-several[data-done="1"] .ds-card')).to_have_count(1)
    expect(page.locator(".ds-card footer b img")).to_have_count(0)
    assert page.title() == "damoscope"


def test_several_images(open_page: OpenPage, photo: Path, tmp_path: Path) -> None:
    """Each of several images has its card and trace; a bad one costs the others nothing."""
    bad, plain = tmp_path / "bad.jpg", tmp_path / "plain.jpg"
    bad.write_bytes(b"no image")
    plain.write_bytes(pictures.jpeg(seed=1))
    page = open_page()
    page.get_by_role("tab", name="Several images").click()
    page.locator("#photos input[type=file]").set_input_files([photo, bad, plain])
    cards = page.locator('.ds-several[data-done="1"] .ds-card')
    expect(cards).to_have_count(3)
    assert [cards.nth(i).locator("footer b").inner_text() for i in range(3)] == [
        photo.name, "bad.jpg", "plain.jpg",
    ]  # fmt: skip
    expect(cards.nth(0).locator(".ds-box").first).to_be_visible()
    expect(cards.nth(1).locator(".ds-failure")).to_have_text(
        "This is not an image of a format that we know."
    )
    expect(page.locator(".ds-several > header h2")).to_contain_text("in 3 images · 1 failed")
    traces = {
        cards.nth(i).get_by_role("link", name="Trace").get_attribute("href") for i in range(3)
    }
    assert len(traces) == 3
    with page.expect_download() as download:
        page.get_by_role("link", name="All images with boxes").click()
    packed = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
    assert packed.namelist() == [f"001-{photo.stem}.jpg", "002-plain.jpg", "results.json"]


def test_chinese(open_page: OpenPage, photo: Path, tmp_path: Path) -> None:
    """A Chinese browser gets Chinese pages: labels, results and errors."""
    page = open_page(locale="zh-CN")
    expect(page.get_by_role("button", name="检测", exact=True)).to_be_visible()
    expect(page.locator(".ds-state")).to_contain_text("1 个工作进程就绪")
    choose(page, photo)
    expect(page.locator("#result h2")).to_have_text(re.compile(r"检测到 \d+ 个目标"))
    expect(page.locator("#result .ds-trace")).to_have_text("查看链路追踪")
    page.get_by_role("tab", name="多张图片").click()
    bad = tmp_path / "report.jpg"
    bad.write_bytes(b"%PDF-1.7")
    page.locator("#photos input[type=file]").set_input_files(bad)
    expect(page.locator(".ds-failure")).to_have_text("这是 PDF 文件，不是照片。")


def test_a_service_that_is_away(browser: Browser, service: Service, photo: Path) -> None:
    """The page says so in its own language, and Gradio says nothing beside it; what is given once
    it is there again is detected."""
    with browser.new_context(locale="zh-CN") as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        with service.client() as client:
            known = client.post("/api/v1/detect", files={"image": photo.read_bytes()}).json()
        page.goto(f"{service.url}/?result={known['job_id']}")
        assert trace_of(page) == known["trace_id"]
        page.route("**/*", lambda route: route.abort())
        choose(page, photo)
        expect(page.locator(".ds-said")).to_contain_text("上传")
        expect(page.locator("[data-testid=toast-body]")).to_be_hidden()
        expect(page.locator(".ds-down")).to_contain_text("服务无响应")
        page.unroute("**/*")
        expect(page.locator(".ds-down")).to_be_hidden()
        choose(page, photo)
        result = page.locator("#result .ds-result")
        expect(result).not_to_have_attribute("data-trace", known["trace_id"])
        expect(page.locator(".ds-said")).to_have_count(0)
