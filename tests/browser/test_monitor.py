"""The Monitor page: what it shows is what was sent, and what it cannot know it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from frontend.pages.i18n import EN
from tests.browser.conftest import OpenPage
from tests.paths import ROOT
from tests.servers import Service, eventually, free_port

EXAMPLES = sorted((ROOT / "examples").glob("*.jpg"))
GOOD, BAD = 10, 2
#: The images that are cut short are invalid, and no failure of the service.
SUCCESS = "100 %"
#: Everything that was sent is inside it, however slow the machine.
HOUR = "/monitor?window=3600&refresh=1"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own: what it counts is what these tests sent."""
    with Service(tmp_path_factory.mktemp("monitor") / "home", pages=True) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def found(service: Service) -> list[int]:
    """Sends ten images and two that are cut short; the objects found in each of the ten."""
    photos = [path.read_bytes() for path in EXAMPLES]
    with service.client() as client:
        counts = []
        for number in range(GOOD):
            answer = client.post("/api/v1/detect", files={"image": photos[number % len(photos)]})
            counts.append(len(answer.json()["detections"]))
        for _ in range(BAD):
            assert client.post("/api/v1/detect", files={"image": photos[0][:3000]}).is_error
        eventually(
            lambda: (
                sum(client.get("/api/v1/stats?window=3600").json()["requests"].values())
                == GOOD + BAD
            ),
            "all requests in the metrics",
        )
    return counts


def card(page: Page, name: str) -> Locator:
    """The figure of a card."""
    return page.locator(f'.ds-figure[data-card="{name}"] b')


def rounds(page: Page) -> int:
    """How often everything was asked for."""
    return int(page.locator(".ds-monitor").get_attribute("data-rounds") or 0)


def wait_for_rounds(page: Page, count: int) -> None:
    """Wait until everything was asked for `count` times more."""
    wanted = rounds(page) + count
    page.wait_for_function(
        f"Number(document.querySelector('.ds-monitor').dataset.rounds) >= {wanted}"
    )


def drawn(page: Page) -> None:
    """Wait until every plot is there."""
    expect(page.locator(".ds-canvas[data-points]")).to_have_count(7)


def test_an_empty_system(open_page: OpenPage) -> None:
    """Before the first image the page says so and what to do; nothing is made up."""
    page = open_page("/monitor")
    expect(page.locator(".ds-never")).to_contain_text("No image has come yet.")
    expect(page.locator(".ds-never pre")).to_contain_text("/api/v1/detect")
    expect(page.locator(".ds-plots")).to_be_hidden()
    expect(card(page, "latency_p95_ms")).to_have_text("–")
    expect(card(page, "success_rate")).to_have_text("–")
    expect(card(page, "workers_ready")).to_have_text("1")
    expect(page.locator(".ds-verdict")).to_be_hidden()
    page.locator(".ds-never").get_by_role("link", name="Detect").click()
    expect(page.get_by_role("button", name="Detect", exact=True)).to_be_visible()


def test_the_cards_show_what_was_sent(open_page: OpenPage, found: list[int]) -> None:
    """Success rate and objects per image are those of the requests that were sent."""
    page = open_page(HOUR)
    expect(card(page, "success_rate")).to_have_text(SUCCESS)
    per_image = f"{sum(found) / GOOD:g}"
    expect(card(page, "detections_per_image")).to_have_text(per_image)
    expect(card(page, "qps")).to_have_text(re.compile(r"^[\d.]+$"))  # of the last minute
    for name in ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"):
        expect(card(page, name)).to_have_text(re.compile(r"^[\d.,]+\s(ms|s)$"))
    for name in ("requests_active", "queue_depth"):
        expect(card(page, name)).to_have_text("0")
    for name in ("cpu", "memory"):
        expect(card(page, name)).to_have_text(re.compile(r"^[\d.]+\s%$"))
    expect(page.locator(".ds-never")).to_be_hidden()


def test_objectives(open_page: OpenPage, service: Service, found: list[int]) -> None:
    """Each with what the API says is left of its budget; too few images say nothing."""
    with service.client() as client:
        objectives = eventually(
            lambda: [
                each
                for each in client.get("/api/v1/slo").json()["objectives"]
                if each["requests"] == GOOD
            ],
            "the objectives to know of all images",
        )
    page = open_page(HOUR)
    for objective in objectives:
        shown = page.locator(f'[data-card="slo_{objective["name"]}"]')
        expect(shown.locator("h3")).to_contain_text(objective["name"])
        expect(shown.locator("dd").nth(1)).to_have_text(f"{objective['bad']} of {GOOD}")
        expect(shown.locator(".ds-left")).to_contain_text("too few images")


def test_the_plots_show_what_was_sent(open_page: OpenPage, found: list[int]) -> None:
    """The heat map has each image that succeeded once; the others are there, and capacity."""
    page = open_page(HOUR)
    drawn(page)
    cells = page.evaluate(
        """() => document.querySelector('[data-plot=heatmap] .ds-canvas').data[0].z
             .flat().filter(Boolean).reduce((sum, root) => sum + Math.round(root * root), 0)"""
    )
    assert cells == GOOD
    # The rate of a step that has hardly begun is not told yet.
    rates = "document.querySelector('[data-plot=qps] .ds-canvas').data.length === 2"
    page.wait_for_function(rates)
    names = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('.ds-canvas')].map((canvas) =>
             [canvas.parentElement.dataset.plot, canvas.data.map((trace) => trace.name)]))"""
    )
    assert names["qps"] == ["ok", "invalid"]
    assert names["latency"] == ["p50", "p95", "p99"]
    assert names["stages"] == ["Upload", "Queue wait", "Preprocess", "Inference", "NMS"]
    expect(page.locator(".ds-verdict")).to_have_text(
        "The workers hold the busiest time with room to spare."
    )
    expect(page.locator('.ds-capacity [data-row="workers"] dd')).to_have_text("1")


def test_slow_and_failed_images_lead_to_their_traces(
    open_page: OpenPage, service: Service, found: list[int]
) -> None:
    """The lists hold ten of what was sent, the slowest first; a click on a row opens its trace."""
    page = open_page(HOUR)
    slowest = page.locator('[data-table="slowest"] tbody tr')
    failed = page.locator('[data-table="failed"] tbody tr')
    expect(slowest).to_have_count(10)
    expect(failed).to_have_count(BAD)
    expect(failed.first).to_contain_text("the JPEG is cut short: its last rows are missing")
    with service.client() as client:
        asked = {"window": 3600, "order": "slowest", "limit": 1}
        (first,) = client.get("/api/v1/traces", params=asked).json()
    expect(slowest.first).to_have_attribute("data-trace", first["trace_id"])
    slowest.first.locator("td").last.click()
    expect(page).to_have_url(f"{service.url}/traces?trace={first['trace_id']}")
    expect(page.locator(f'.ds-waterfall[data-trace="{first["trace_id"]}"]')).to_be_visible()


def test_the_address_keeps_what_is_chosen(
    open_page: OpenPage, service: Service, found: list[int]
) -> None:
    """Window and pace are in the address: a reload keeps them, and Back goes back."""
    page = open_page("/monitor")
    pressed = page.locator('.ds-choice [aria-pressed="true"]')
    expect(pressed).to_have_attribute("value", "900")
    page.locator(".ds-choice").get_by_role("button", name="1 day").click()
    page.get_by_label("Refresh every").select_option("60")
    expect(page).to_have_url(f"{service.url}/monitor?window=86400&refresh=60")
    page.reload()
    expect(pressed).to_have_attribute("value", "86400")
    expect(page.get_by_label("Refresh every")).to_have_value("60")
    page.go_back()
    page.go_back()
    expect(pressed).to_have_attribute("value", "900")


def drag(page: Page, plot: str, begin: float, end: float) -> None:
    """Drag over a part of a plot, from one share of its width to another."""
    box = page.locator(f"{plot} .nsewdrag").first.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * begin, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * end, middle, steps=5)
    page.mouse.up()


def asked_for(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def test_a_zoom_is_the_whole_pages(open_page: OpenPage, found: list[int]) -> None:
    """A dragged stretch is in the address and what all plots, lists and figures are about; a
    reload keeps it, a double click and another window end it."""
    page = open_page(HOUR)
    drawn(page)
    plot = '[data-plot="qps"] .ds-canvas'
    drag(page, plot, 0.25, 0.5)
    page.wait_for_url(re.compile(r"from=.*to="))
    asked = asked_for(page.url)
    begin, end = (datetime.fromisoformat(asked[name][0]) for name in ("from", "to"))
    assert 600 < (end - begin).total_seconds() < 1200
    expect(page.locator('[data-table="slowest"]')).to_contain_text("No image in this window.")
    expect(page.locator(".ds-ranged")).to_have_attribute("aria-pressed", "true")
    expect(card(page, "requests")).to_have_text(re.compile("^[0–]$"))
    shown = """() => [...document.querySelectorAll('.ds-canvas')].map((canvas) =>
      canvas.layout.xaxis.autorangeoptions.include.map((at) => new Date(at) / 1000))"""
    page.wait_for_function(f"({shown})().every(([from, to]) => to - from < 1500)")
    page.reload()
    drawn(page)
    assert asked_for(page.url)["from"] == asked["from"]
    assert all(to - begun < 1500 for begun, to in page.evaluate(shown))
    page.locator(f"{plot} .nsewdrag").first.dblclick()
    page.wait_for_url(re.compile(r"^[^?]*\?(?!.*from=)"))
    drag(page, plot, 0.25, 0.5)
    page.wait_for_url(re.compile("from="))
    page.locator(".ds-choice").get_by_role("button", name="6 h").click()
    expect(page.locator(".ds-ranged")).to_have_attribute("aria-pressed", "false")
    assert set(asked_for(page.url)) == {"window", "refresh"}


def test_a_time_of_ones_own(open_page: OpenPage, found: list[int]) -> None:
    """It begins with what is shown, and what is typed is taken; what is over is not asked for
    again and again."""
    page = open_page(HOUR)
    page.get_by_role("button", name="From … to …").click()
    field = page.locator(".ds-filter input[name=from]")
    expect(field).to_be_visible()
    field.fill("2026-01-02T03:04:05")
    page.locator(".ds-filter input[name=to]").fill("2026-01-02T04:04:05")
    page.locator(".ds-filter input[name=to]").press("Enter")
    expect(page.locator('[data-table="failed"]')).to_contain_text("None failed in this window.")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    wait_for_rounds(page, 2)
    assert [url for url in asked if "/stats" in url] == []
    assert [url for url in asked if "/alerts" in url]


def test_a_click_lists_the_images_of_a_moment(
    open_page: OpenPage, service: Service, found: list[int]
) -> None:
    """The busiest step of the plot leads to the Traces page with its images, also when they were
    counted in the step after the one in which they began."""
    with service.client() as client:
        last = client.get("/api/v1/traces?limit=1&status=ok").json()[0]
    begun_s = last["start_unix_ns"] / 1e9
    page = open_page("/report")
    page.route("**/api/v1/stats/series?*", lambda route: answer_later(route, begun_s + 5))
    # The plot stays where it is between the look at it and the click.
    page.goto(service.url + HOUR.replace("refresh=1", "refresh=0"))
    drawn(page)
    plot = '[data-plot="qps"] .ds-canvas'
    at = page.evaluate(
        f"""() => {{
          const canvas = document.querySelector('{plot}');
          const [ok] = canvas.data;
          const step = ok.y.indexOf(Math.max(...ok.y));
          const axis = canvas._fullLayout.xaxis;
          const box = canvas.querySelector('.nsewdrag').getBoundingClientRect();
          return [box.x + axis.d2p(ok.x[step]), box.y + box.height - 3];
        }}"""
    )
    page.mouse.move(*at)
    page.mouse.click(*at)
    page.wait_for_url(re.compile("/traces"))
    asked = asked_for(page.url)
    assert set(asked) == {"from", "to"}
    begin, end = (datetime.fromisoformat(asked[name][0]).timestamp() for name in ("from", "to"))
    assert begin < begun_s < begun_s + 5 < end
    expect(page.locator(f'.ds-rows tr[data-trace="{last["trace_id"]}"]')).to_be_visible()


def answer_later(route: Route, start_s: float) -> None:
    """The plots, moved so that their busiest step begins at `start_s`."""
    answer = route.fetch()
    series = answer.json()
    counts = series["requests_per_s"]["ok"]
    busiest = counts.index(max(value or 0 for value in counts))
    series["start_s"] = start_s - busiest * series["step_s"]
    route.fulfill(response=answer, json=series)


def test_on_a_wall(open_page: OpenPage, found: list[int]) -> None:
    """Dark, without controls and header; Escape brings them back."""
    page = open_page(HOUR + "&wall=1")
    drawn(page)
    expect(page.locator("body")).to_have_class(re.compile("dark"))
    for hidden in (".ds-monitor > .ds-filter", ".ds-header", ".ds-extremes", ".ds-channels"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(card(page, "success_rate")).to_have_text(SUCCESS)
    page.keyboard.press("Escape")
    expect(page.locator(".ds-monitor > .ds-filter")).to_be_visible()
    expect(page.locator("body")).not_to_have_class(re.compile("dark"))
    assert "wall" not in page.url


def test_what_happened_is_marked(open_page: OpenPage, found: list[int]) -> None:
    """The service's own start, and its worker's model, in every plot and as a list."""
    page = open_page(HOUR)
    drawn(page)
    page.get_by_text("What happened in this time").click()
    for said in ("new process: worker × 1", "new process: frontend × 1", "model damoyolo"):
        expect(page.locator(".ds-marks")).to_contain_text(said)
    lines = "() => document.querySelector('[data-plot=batch] .ds-canvas').layout.shapes.length"
    page.wait_for_function(f"({lines})() >= 3")


def test_nothing_is_asked_for_while_hidden(open_page: OpenPage, found: list[int]) -> None:
    """A tab in the background rests, and catches up when it is seen again."""
    page = open_page(HOUR)
    wait_for_rounds(page, 1)
    hide = """(hidden) => {
      Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, True)
    page.wait_for_function("!document.querySelector('.ds-monitor[aria-busy]')")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert [url for url in asked if "/api/" in url] == []
    page.evaluate(hide, False)
    wait_for_rounds(page, 1)


def test_an_old_answer_never_overwrites_a_newer_one(open_page: OpenPage, found: list[int]) -> None:
    """An answer for a window that is no longer chosen is dropped, however late it comes."""
    page = open_page("/monitor?window=3600&refresh=0")
    expect(card(page, "success_rate")).to_have_text(SUCCESS)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if "window=86400" in route.request.url:
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/v1/stats?**", hold)
    page.locator(".ds-choice").get_by_role("button", name="1 day").click()
    page.wait_for_function("document.querySelector('.ds-monitor[aria-busy]')")
    eventually(lambda: page.wait_for_timeout(50) or held, "the first request")
    page.locator(".ds-choice").get_by_role("button", name="6 h").click()
    page.wait_for_function("!document.querySelector('.ds-monitor[aria-busy]')")
    shown = card(page, "qps").inner_text()
    # The request was given up, so that its answer may find nobody who waits.
    for route in held:
        route.fulfill(body="{}", content_type="application/json")
    page.wait_for_timeout(300)
    assert card(page, "qps").inner_text() == shown


def test_a_service_that_does_not_answer(open_page: OpenPage, found: list[int]) -> None:
    """The page says so, and how old its figures are; it goes on by itself afterwards."""
    page = open_page(HOUR)
    expect(card(page, "success_rate")).to_have_text(SUCCESS)
    page.route("**/api/v1/**", lambda route: route.abort())
    banner = page.locator(".ds-banner")
    expect(banner).to_contain_text("The service does not answer.")
    expect(banner).to_contain_text("What is shown is from")
    expect(card(page, "success_rate")).to_have_text(SUCCESS)
    page.unroute("**/api/v1/**")
    expect(banner).to_be_hidden()


def test_a_metrics_store_that_does_not_answer(
    browser: Any, tmp_path: Path, found: list[int]
) -> None:
    """Prometheus away is said as it is, detection goes on, and traces are still listed."""
    dead = f"http://127.0.0.1:{free_port()}"
    with Service(tmp_path / "home", pages=True, DAMOSCOPE_PROMETHEUS_URL=dead) as running:
        running.wait_until_ready()
        with running.client() as client:
            photo = EXAMPLES[0].read_bytes()
            assert client.post("/api/v1/detect", files={"image": photo}).status_code == 200
        page = browser.new_page()
        page.goto(f"{running.url}/monitor")
        banner = page.locator(".ds-banner")
        expect(banner).to_contain_text("Metrics cannot be read now; detection goes on")
        expect(banner).to_contain_text("Prometheus")
        expect(page.locator(".ds-figure")).to_have_count(0)
        page.close()


def test_chinese(open_page: OpenPage, found: list[int]) -> None:
    """A Chinese browser gets a Chinese page, plots and causes of failures included."""
    page = open_page(HOUR, locale="zh-CN")
    expect(page.locator('[data-card="success_rate"] h3')).to_contain_text("成功率")
    expect(page.get_by_role("button", name="15 分钟")).to_be_visible()
    expect(page.locator(".ds-verdict")).to_have_text("工作进程能够承受最繁忙的时段，并有余量。")
    failed = page.locator('[data-table="failed"] tbody tr').first
    expect(failed).to_contain_text("不是图片，或文件不完整")
    drawn(page)
    expect(page.locator('[data-plot="stages"] .legendtext').first).to_have_text("上传")
    english = page.locator(".ds-monitor .en").all()
    assert not any(text.is_visible() for text in english)


def test_times_are_the_browsers(open_page: OpenPage, service: Service, found: list[int]) -> None:
    """Times are stored in UTC and shown in the zone of who looks."""
    page = open_page(HOUR, timezone_id="Asia/Kathmandu")  # 5 h 45 min ahead, all year
    shown = page.locator('[data-table="failed"] tbody time').first
    expect(shown).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
    utc, local = shown.get_attribute("datetime") or "", shown.inner_text()
    minutes = [int(h) * 60 + int(m) for h, m in (utc[11:16].split(":"), local[-8:-3].split(":"))]
    assert (minutes[1] - minutes[0]) % 1440 == 5 * 60 + 45


def test_dark(open_page: OpenPage, found: list[int]) -> None:
    """The plots follow the page's theme when it changes."""
    page = open_page(HOUR)
    drawn(page)
    colour = "() => document.querySelector('[data-plot=qps] .ds-canvas').data[0].marker.color"
    light = page.evaluate(colour)
    page.evaluate("document.body.classList.add('dark')")
    page.wait_for_function(f"() => ({colour})() !== {json.dumps(light)}")


def test_every_text_that_the_scripts_name_exists() -> None:
    """Names are literal, or have places that several texts fill."""
    named = re.compile(r'(?:text|withTime)\((?:"([\w.]+)"|`([^`]+)`)')
    known = [*EN, *(key.removeprefix("monitor.") for key in EN)]
    for path in sorted((ROOT / "frontend/pages/monitor/static").glob("*.js")):
        for literal, template in named.findall(path.read_text(encoding="utf-8")):
            parts = re.split(r"\$\{.*?\}", literal or template)
            pattern = r"[\w.]+".join(map(re.escape, parts))
            assert any(re.fullmatch(pattern, key) for key in known), (path.name, parts)


def test_plotly_comes_from_this_service(service: Service) -> None:
    """The library is served compressed and for ever, the page's modules are checked each time."""
    with service.client() as client:
        page = client.get("/monitor").text
        address = re.search(r"/pages/plotly-[\d.]+\.min\.js", page)
        assert address is not None
        packed = client.get(address[0])
        assert packed.headers["content-encoding"] == "gzip"
        assert "immutable" in packed.headers["cache-control"]
        plain = client.get(address[0], headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == packed.content
        said = re.search(rb"plotly\.js \(cartesian - minified\) v([\d.]+)", plain.content[:200])
        assert said
        assert f"-{said[1].decode()}.min" in address[0]
        module = client.get("/pages/monitor/main.js")
        assert module.headers["cache-control"] == "no-cache"
        tag = {"if-none-match": module.headers["etag"]}
        assert client.get("/pages/monitor/main.js", headers=tag).status_code == 304
