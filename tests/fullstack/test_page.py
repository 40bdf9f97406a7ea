"""An image through the page, in a browser: the same trace, with a link to where it is shown."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from pipeline.job import DetectionResult
from run.stack.ports import HOST
from telemetry import catalogue
from tests.fullstack.service import ARRIVAL_S, Service
from tests.fullstack.traces import PAGE, by_name, shape_of, tag
from tests.integration import pictures
from tests.servers import PATIENCE_S

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

#: Milliseconds; a page's first load on a busy machine.
PATIENCE_MS = 90_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def page(service: Service) -> Iterator[Page]:
    """The Detect page in headless Chromium."""
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Chromium (Debian package `chromium`)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = browser.new_page(locale="en")
        opened.set_default_timeout(PATIENCE_MS)
        opened.goto(service.url)
        yield opened
        browser.close()


def test_an_image_by_the_page(page: Page, service: Service, tmp_path: Path) -> None:
    """Its trace is whole, from the upload on; the link to it leads to our own page of it, and from
    there to Jaeger's, unless that is a placeholder."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(pictures.phone())
    page.locator("#photo input[type=file]").first.set_input_files(photo)
    result = page.locator("#result .ds-result")
    expect(result).to_be_visible(timeout=PATIENCE_MS)
    trace_id = result.get_attribute("data-trace")
    assert trace_id
    address = page.locator("#result a.ds-trace").get_attribute("href")
    assert address
    assert address == f"traces?trace={trace_id}"
    shown = httpx.get(urljoin(f"{service.url}/", address), trust_env=False, timeout=PATIENCE_S)
    assert shown.status_code == 200

    spans = service.trace(trace_id, PAGE)
    assert shape_of(spans) == PAGE
    drawn = httpx.get(
        f"{service.url}/pages/traces/{trace_id}", trust_env=False, timeout=PATIENCE_S
    ).text
    jaeger = f"http://{HOST}:{service.stack.ports.jaeger}/trace/{trace_id}"
    assert (f'href="{jaeger}"' in drawn) is service.stack.layout.jaeger_has_pages
    request = by_name(spans)[catalogue.SPAN_REQUEST_UI]
    assert tag(request, catalogue.ATTR_ROUTE) == "ui"
    job = service.get(f"/api/v1/jobs/{tag(request, catalogue.ATTR_JOB_ID)}")
    service.record.results["ui"].append(DetectionResult.model_validate(job["result"]))
    service.wait_until_counted()
    (listed,) = [
        row for row in service.get("/api/v1/traces", limit=500) if row["trace_id"] == trace_id
    ]
    assert (listed["route"], listed["outcome"]) == ("ui", "ok")


def test_the_status_line_counts_the_workers(page: Page) -> None:
    """The line above the page says how many workers are ready."""
    expect(page.locator(".ds-state")).to_have_text(
        re.compile(r"2 workers ready"), timeout=PATIENCE_MS
    )


def test_the_traces_page_reads_jaeger(page: Page, service: Service) -> None:
    """The list of recent images shows one that was sent a moment ago."""
    result = service.detect()
    service.trace(result.trace_id)
    page.goto(f"{service.url}/traces")
    expect(page.locator(f".ds-rows [href*='{result.trace_id}']").first).to_be_visible(
        timeout=ARRIVAL_S * 1e3
    )


def test_the_monitor_page_reads_prometheus(page: Page, service: Service) -> None:
    """Cards, plots, lists and alerts of the full stack's own servers; nothing is unreadable."""
    service.trace(service.detect().trace_id)
    service.wait_until_counted()
    page.goto(f"{service.url}/monitor?window=3600&refresh=1")
    for name in ("qps", "latency_p95_ms", "success_rate", "workers_ready", "cpu", "memory"):
        figure = page.locator(f'.ds-figure[data-card="{name}"] b')
        expect(figure).to_have_text(re.compile(r"\d"), timeout=PATIENCE_MS)
    expect(page.locator(".ds-canvas[data-points]")).to_have_count(7, timeout=PATIENCE_MS)
    slowest = page.locator('[data-table="slowest"] tbody tr')
    expect(slowest.first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".ds-alerts")).to_contain_text("evaluated by Prometheus")
    expect(page.locator(".ds-alerts .ds-error")).to_have_count(0)
    expect(page.locator(".ds-banner")).to_be_hidden()
