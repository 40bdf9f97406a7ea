"""The Report page: what it says is what was sent, and it can be taken along."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.conftest import OpenPage
from tests.paths import ROOT
from tests.servers import Service, eventually

PHOTO = ROOT / "examples" / "desk.jpg"
GOOD, BAD = 33, 2


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own: what it counts is what these tests sent."""
    home = tmp_path_factory.mktemp("report") / "home"
    prices = {"DAMOSCOPE_CPU_WORKER_PRICE": "0.05", "DAMOSCOPE_CURRENCY": "EUR"}
    with Service(home, pages=True, **prices) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def found(service: Service) -> int:
    """Sends good images and bad ones; how many objects were found in them."""
    with service.client() as client:
        answers = [client.post("/api/v1/detect", files={"image": PHOTO.read_bytes()})
                   for _ in range(GOOD)]  # fmt: skip
        for _ in range(BAD):
            assert client.post("/api/v1/detect", files={"image": b"no image"}).is_error
        detections = sum(len(answer.json()["detections"]) for answer in answers)

        def complete() -> bool:
            report = client.get("/api/v1/report?days=1").json()
            counted = sum(each["count"] for each in report["detections"])
            failed = len(report["failures"]["images"])
            return (sum(report["requests"].values()), counted, failed) == (
                GOOD + BAD, detections, BAD,
            )  # fmt: skip

        eventually(complete, "all that was sent in the report")
    return detections


def inside(page: Page) -> FrameLocator:
    """The report in its frame."""
    return page.frame_locator(".ds-report iframe")


def figure(page: Page, name: str) -> str:
    """One of the report's figures."""
    return (
        inside(page).locator(f'[data-figure="{name}"] .value').inner_text().replace("\u00a0", " ")
    )


def test_an_empty_system(open_page: OpenPage) -> None:
    """Before the first image the report says so; it has no rating and no figures."""
    page = open_page("/report")
    expect(inside(page).get_by_text("There is nothing to report yet.")).to_be_visible()
    expect(inside(page).locator("#rating")).to_have_count(0)


def test_it_says_what_was_sent(open_page: OpenPage, found: int) -> None:
    """Requests, success, detections, failures and cost are those of the images sent."""
    page = open_page("/report?days=1")
    expect(inside(page).locator('[data-figure="requests"] .value')).to_have_text(str(GOOD + BAD))
    assert figure(page, "detections") == str(found)
    assert figure(page, "success_rate") == "100 %"
    assert "EUR" in figure(page, "cost_per_1000")
    rows = inside(page).locator("tr[data-outcome]")
    assert [row.get_attribute("data-outcome") for row in rows.all()] == ["ok", "invalid"]
    assert inside(page).locator("tr[data-client]").get_attribute("data-client") == "127.0.0.1"
    grade = inside(page).locator("#rating [data-grade]").get_attribute("data-grade")
    assert grade in {"A", "B", "C", "D", "E"}
    expect(inside(page).locator('[data-advice="outcome_invalid"]')).to_be_visible()


def test_the_slider(open_page: OpenPage, found: int) -> None:
    """It chooses the days, and the page's address keeps them."""
    page = open_page("/report")
    expect(inside(page).locator("h1")).to_have_text("Service report: the last 7 days")
    page.locator("input[name=days]").fill("30")
    expect(inside(page).locator("h1")).to_have_text("Service report: the last 30 days")
    expect(page).to_have_url(re.compile(r"/report\?days=30$"))
    page.go_back()
    expect(inside(page).locator("h1")).to_have_text("Service report: the last 7 days")
    expect(page.locator("output")).to_have_text(re.compile(r"7\s+days"))


def test_downloads(open_page: OpenPage, found: int, tmp_path: Path) -> None:
    """Each format downloads as a file that says the same."""
    page = open_page("/report?days=1")
    expect(inside(page).locator("h1")).to_be_visible()
    texts = {}
    for name, ending in (("HTML", "html"), ("Markdown", "md"), ("JSON", "json")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert re.fullmatch(
            rf"damoscope-report-1d-\d+\.{ending}", download.value.suggested_filename
        )
        download.value.save_as(tmp_path / ending)
        texts[ending] = (tmp_path / ending).read_text(encoding="utf-8")
    assert json.loads(texts["json"])["requests"] == {"ok": GOOD, "invalid": BAD}
    assert texts["md"].startswith("# Service report: the last day")
    assert "<script" not in texts["html"]


def test_a_failed_image_leads_to_its_trace(open_page: OpenPage, found: int) -> None:
    """The list of failures is a click away from the trace."""
    page = open_page("/report?days=1")
    link = inside(page).locator("#failures a.trace").first
    with page.context.expect_page() as opened:
        link.click()
    expect(opened.value.locator(".ds-span.failed").first).to_be_visible()


def test_in_chinese_and_in_ones_own_zone(open_page: OpenPage, found: int) -> None:
    """By the browser's language and time zone."""
    page = open_page("/report", locale="zh-CN", timezone_id="Asia/Shanghai")
    expect(inside(page).locator("h1")).to_have_text("服务报告：最近 7 天")
    expect(inside(page).locator(".period")).to_contain_text("Asia/Shanghai")
    expect(page.get_by_role("link", name="报告")).to_have_attribute("aria-current", "page")


def test_nothing_wider_than_a_telephone(open_page: OpenPage, found: int) -> None:
    """On a small screen nothing but tables scrolls sideways."""
    page = open_page("/report", viewport={"width": 390, "height": 800})
    expect(inside(page).locator("h1")).to_be_visible()
    for document in ("document", "document.querySelector('.ds-report iframe').contentDocument"):
        wide = page.evaluate(f"{document}.documentElement.scrollWidth")
        assert wide <= page.evaluate(f"{document}.documentElement.clientWidth")


def test_a_store_that_is_away(open_page: OpenPage) -> None:
    """The page says why there is no report."""
    page = open_page("/traces")
    problem = {"status": 503, "json": {"detail": "Prometheus on 10.0.0.9 cannot be read"}}
    page.route("**/api/v1/report*", lambda route: route.fulfill(**problem))  # type: ignore[arg-type]
    page.get_by_role("link", name="Report").click()
    expect(page.get_by_role("alert")).to_contain_text("Prometheus on 10.0.0.9 cannot be read")
    expect(page.locator("iframe")).to_be_hidden()
