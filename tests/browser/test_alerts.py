"""Alerts on the Monitor page: one fires when something breaks, people are told, it resolves."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.monitoring.receivers import SECRETS, Hook
from tests.paths import NO_OBJECTIVES, ROOT
from tests.servers import Service, eventually

PHOTO = ROOT / "examples" / "desk.jpg"
PAGE = "/monitor?window=300&refresh=1"
ADDRESS = "monitor?alert=ManyFailures"
RULES = """
cooldown: 10s
rules:
  - name: ManyFailures
    metric: success_rate
    window: 20s
    at_least: 3
    comparison: "<"
    threshold: 0.95
    severity: critical
    message: {en: "Only {value} succeed.", zh: "仅有 {value} 成功。"}
    action: {en: "Open the trace.", zh: "打开链路追踪。"}
  - name: NoWorkers
    metric: workers_ready
    comparison: "<"
    threshold: 1
    for: 60s
    severity: critical
    message: {en: "No worker is there.", zh: "没有工作进程。"}
"""


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    """Where this module's notifications go."""
    with Hook().running() as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[Service]:
    """A service whose rules have short windows, and which notifies the hook."""
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "alerts.yaml").write_text(RULES, encoding="utf-8")
    settings = {
        "DAMOSCOPE_ALERTS": str(folder / "alerts.yaml"),
        "DAMOSCOPE_SLO": str(NO_OBJECTIVES),
        "DAMOSCOPE_NOTIFY": hook.url,
    }
    with Service(folder / "home", pages=True, **settings) as running:
        yield running.wait_until_ready()


def post_in_vain(service: Service, count: int) -> None:
    """Send an image so many times, and give it no time: each is a timeout."""
    with service.client() as client:
        for _ in range(count):
            query = {"timeout": 0.001}
            client.post("/api/v1/detect", params=query, files={"image": PHOTO.read_bytes()})


@contextmanager
def failing(service: Service) -> Iterator[None]:
    """Images fail all the time: an alert that fires is not over before it was looked at."""
    over = threading.Event()

    def send() -> None:
        post_in_vain(service, 4)
        while not over.wait(1.0):
            post_in_vain(service, 1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


def test_an_alert_fires_and_resolves(open_page: OpenPage, service: Service, hook: Hook) -> None:
    """Failing images turn the card red, are told of with a trace, and are history afterwards."""
    page = open_page(PAGE)
    strip, alert = page.locator(".ds-firing"), page.locator('[data-alert="ManyFailures"]')
    card = page.locator('.ds-figure[data-card="success_rate"]')
    expect(page.locator(".ds-calm")).to_have_text("No alert is firing.")
    expect(page.locator(".ds-alerts")).to_contain_text("evaluated by the watcher")

    with failing(service):
        expect(strip).to_contain_text("1 alert is firing")
        expect(strip).to_contain_text("ManyFailures")
        expect(card).to_have_class("ds-figure alarmed")
        expect(card).to_have_attribute("title", "ManyFailures: Only 0\u00a0% succeed.")
        expect(alert).to_contain_text("Only 0 % succeed. Open the trace.")
        expect(alert.locator(".ds-value")).to_have_text("0 % < 95 %")
        assert page.title() == "(1) damoscope"
        narrow = open_page(PAGE, viewport={"width": 390, "height": 844})
        told = narrow.locator(".ds-firing").get_by_role("link", name="ManyFailures")
        expect(told).to_be_in_viewport()  # nobody has to scroll for it
        eventually(
            lambda: any("ManyFailures" in str(post) for post in hook.accepted), "the notification"
        )
        example = alert.get_by_role("link", name="Example trace")
        expect(example).to_be_visible()
        trace_id = str(example.get_attribute("href")).partition("=")[2]
        with service.client() as client:
            spans = client.get(f"/api/v1/traces/{trace_id}").json()
        assert any("damoscope.problem.code" in span["attributes"] for span in spans)
        expect(strip.get_by_role("link", name="ManyFailures")).to_have_attribute("href", ADDRESS)
        expect(card.get_by_role("link")).to_have_attribute("href", ADDRESS)

    expect(strip).to_be_empty()  # the failures are out of the rule's window
    expect(card).to_have_class("ds-figure")
    expect(alert).to_have_count(0)
    row = page.locator('[data-episode="ManyFailures"]')
    expect(row).to_have_count(1)
    expect(row).to_contain_text("0 %")
    expect(row.locator("td").last).to_have_text("sent")
    expect(row).not_to_contain_text("still firing")
    eventually(lambda: len(hook.accepted) >= 2, "the notification that it is over")
    assert page.title() == "damoscope"
    page.get_by_text("What happened in this time").click()
    expect(page.locator(".ds-marks")).to_contain_text("ManyFailures fired")


def test_an_alert_is_silenced(open_page: OpenPage, service: Service, hook: Hook) -> None:
    """A silence shows its end and can be lifted; what fires under it is not sent."""
    page = open_page(PAGE)
    alert = page.locator('[data-alert="ManyFailures"]')
    with failing(service):
        alert.get_by_role("button", name="2 h").click()
        lift = page.locator(".ds-silence").get_by_role("button", name="Lift")
        expect(alert.locator(".ds-silence")).to_contain_text("silenced until")
        with service.client() as client:
            (silence,) = client.get("/api/v1/alerts").json()["silences"]
        assert silence["name"] == "ManyFailures"
        assert 7000 < silence["until_at"] - silence["created_at"] <= 7200
    expect(alert).to_have_count(0)  # over; the silence outlives it
    expect(page.locator(".ds-others")).to_contain_text("ManyFailures silenced until")
    sent = len(hook.accepted)
    with failing(service):
        expect(alert.locator(".ds-silence")).to_contain_text("silenced until")
        expect(page.locator('[data-episode="ManyFailures"]').first).to_contain_text("silenced")
        assert len(hook.accepted) == sent
        lift.click()
        expect(alert.get_by_role("button", name="30 min")).to_be_visible()
    with service.client() as client:
        assert client.get("/api/v1/alerts").json()["silences"] == []


def test_the_channels_are_tested(open_page: OpenPage, service: Service, hook: Hook) -> None:
    """The button sends to every channel and shows what became of it; no page holds a secret."""
    page = open_page(PAGE)
    channels = page.locator(".ds-channels")
    expect(channels.locator("code")).to_have_text("json")
    channels.get_by_role("button", name="Send test").click()
    expect(channels.locator("li")).to_have_text("json sent")
    assert any("Test notification" in title for title in hook.titles)
    for secret in SECRETS:
        assert secret not in page.content()


def test_the_rules_are_listed(open_page: OpenPage) -> None:
    """Every rule with its condition; the fold stays open through refreshes."""
    page = open_page(PAGE)
    page.get_by_text("All rules (2)").click()
    row = page.locator('[data-rule="NoWorkers"]')
    expect(row).to_contain_text("< 1")
    expect(row).to_contain_text("for 1 min")
    count = int(page.locator(".ds-monitor").get_attribute("data-rounds") or 0)
    page.wait_for_function(
        f"Number(document.querySelector('.ds-monitor').dataset.rounds) > {count + 2}"
    )
    expect(row).to_be_visible()


def test_an_alert_has_an_address(open_page: OpenPage) -> None:
    """A link leads to the alert, its rule where it does not fire; an unknown name is said."""
    page = open_page("/monitor?alert=NoWorkers", viewport={"width": 390, "height": 800})
    row = page.locator('[data-rule="NoWorkers"]')
    expect(row).to_be_in_viewport()
    expect(row).to_have_class("ds-pointed")
    page.locator('[data-rule="ManyFailures"] a').click()
    expect(page).to_have_url(re.compile(r"alert=ManyFailures$"))
    expect(page.locator('[data-rule="ManyFailures"]')).to_have_class("ds-pointed")
    expect(row).not_to_have_class("ds-pointed")
    page.goto(page.url.replace("ManyFailures", "Nothing"))
    expect(page.locator(".ds-no-alert")).to_have_text("There is no alert Nothing.")


def test_chinese(open_page: OpenPage) -> None:
    """A Chinese browser reads messages and times in Chinese."""
    page = open_page(PAGE, locale="zh-CN")
    expect(page.locator(".ds-alerts h2")).to_have_text("告警")
    page.get_by_text("全部规则（2）").click()
    expect(page.locator('[data-rule="NoWorkers"]')).to_contain_text("当就绪工作进程数 < 1")
    expect(page.locator('[data-rule="NoWorkers"]')).to_contain_text("持续 1 分钟")


def test_a_watcher_that_is_gone(open_page: OpenPage, service: Service) -> None:
    """That nobody evaluates the rules is said, rather than that all is well."""
    page = open_page(PAGE)
    stale = {
        "source": "watcher", "evaluated_at": 1.0, "problem": "No watcher answers.",
        "problem_zh": "监视进程无响应。", "alerts": [], "history": [],
        "silences": [], "channels": [],
    }  # fmt: skip
    page.route("**/api/v1/alerts?**", lambda route: route.fulfill(json=stale))
    expect(page.locator(".ds-alerts .ds-error")).to_have_text("No watcher answers.")
    expect(page.locator(".ds-calm")).to_have_count(0)
