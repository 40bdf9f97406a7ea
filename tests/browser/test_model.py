"""The Model page: what runs, and workers switched to another model."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.paths import ROOT
from tests.servers import Service, eventually

PHOTO = ROOT / "examples" / "desk.jpg"
SHIPPED = "damoyolo-ns-phone"


def test_what_runs_and_a_switch(open_page: OpenPage, service: Service) -> None:
    """The model that runs, with its figures; whoever is asked and agrees has workers switched, and
    sees what became of it."""
    page = open_page("/model", locale="en-GB")
    shown = page.locator(".ds-model")
    expect(shown.get_by_role("heading", name="What runs")).to_be_visible()
    expect(shown.get_by_role("heading", name=SHIPPED)).to_be_visible()
    expect(shown.get_by_text("Source: models/README.md")).to_be_visible()
    expect(shown.locator("[data-switch]")).to_have_count(0)
    button = shown.locator(f'button[data-use="{SHIPPED}"]')
    page.once("dialog", lambda dialog: dialog.dismiss())
    button.click()
    questions = []

    def agree(dialog: object) -> None:
        questions.append(dialog.message)  # type: ignore[attr-defined]
        dialog.accept()  # type: ignore[attr-defined]

    page.once("dialog", agree)
    button.click()
    outcome = shown.locator('[data-switch="done"]')
    expect(outcome).to_contain_text(f"Last switch: {SHIPPED}")
    expect(outcome).to_contain_text("runs it")
    assert questions == [f"Have all workers run {SHIPPED}?"]
    expect(shown.get_by_text(f"Workers start with {SHIPPED}")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    shown.get_by_role("button", name="Back to the settings").click()
    expect(shown.get_by_text("Workers start with the model of their settings")).to_be_visible()


def test_versions(open_page: OpenPage, service: Service) -> None:
    """The version that runs has figures once it had an image, and leads to its images."""
    with service.client() as client:
        said = client.post("/api/v1/detect", files={"image": PHOTO.read_bytes()}).json()

        def counted() -> bool:
            found = client.get("/api/v1/models").json()["figures"]
            return said["model_version"] in [each["version"] for each in found]

        eventually(counted, "figures of the version")
    page = open_page("/model", locale="en-GB")
    column = page.locator(".ds-model section", has_text="What each version has done here")
    link = page.get_by_role("link", name=said["model_version"])
    expect(column.locator("td", has=link)).to_contain_text("runs")
    column.locator("td", has=link).get_by_role("link").click()
    expect(page.locator('.ds-filter [name="model"]')).to_have_value(said["model"])
    expect(page.locator('.ds-filter [name="model_version"]')).to_have_value(said["model_version"])
    expect(page.locator(".ds-rows tr[data-trace]").first).to_be_visible()


def test_on_a_phone_in_chinese(open_page: OpenPage) -> None:
    """It fits on a narrow screen, in the browser's language."""
    page = open_page("/model", locale="zh-CN", viewport={"width": 390, "height": 800})
    shown = page.locator(".ds-model")
    expect(shown.get_by_role("heading", name="正在运行")).to_be_visible()
    expect(shown.get_by_text("不得在无人复核的情况下")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
