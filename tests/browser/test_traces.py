"""One image of a page, one trace: recorded so, and shown so."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from pathlib import Path

from playwright.sync_api import Error, Route, expect
from redis import Redis

from monitoring.stores.selection import FILE_NAME
from pipeline.queue.kept import kept_key
from tests.browser.conftest import OpenPage
from tests.browser.test_detect import choose, trace_of
from tests.integration import pictures
from tests.servers import Service, eventually
from tests.spans import spans_of

SERVER = "detect (page)"
SPANS = spans_of(SERVER)


def recorded(service: Service) -> set[str]:
    """Ids of all traces in the store, images' or not."""
    with contextlib.closing(sqlite3.connect(service.home / FILE_NAME)) as database:
        return {row[0] for row in database.execute("SELECT lower(hex(trace_id)) FROM chunk")}


def earliest_ns(service: Service, trace_id: str) -> int:
    """When a trace began."""
    return min(span["start_unix_ns"] for span in service.spans(trace_id, 1))


def test_an_upload_is_one_trace_with_exactly_its_spans(
    open_page: OpenPage, service: Service, photo: Path
) -> None:
    """From the upload's first byte to NMS: one trace id, the spans of the design, no other."""
    began_ns, before = time.time_ns(), recorded(service)
    page = open_page()
    choose(page, photo)
    trace_id = trace_of(page)
    spans = {span["name"]: span for span in service.spans(trace_id, len(SPANS))}
    assert set(spans) == set(SPANS)
    for name, (kind, of, parent) in SPANS.items():
        span = spans[name]
        assert (span["kind"], span["service"]) == (kind, of), name
        assert span["parent_span_id"] == (spans[parent]["span_id"] if parent else None), name
        assert span["status"] in ("unset", "ok"), name
    attributes = spans[SERVER]["attributes"]
    assert (attributes["damoscope.route"], attributes["damoscope.outcome"]) == ("ui", "ok")
    assert spans["upload"]["start_unix_ns"] == spans[SERVER]["start_unix_ns"]
    # The bytes that the browser sent, not an image that Gradio made of them.
    assert spans["upload"]["attributes"]["damoscope.image.bytes"] == photo.stat().st_size
    # Besides it there is only the model's call, to which the trace's `inference` links.
    (batch,) = {link["trace_id"] for link in spans["inference"]["links"]}
    eventually(lambda: batch in recorded(service), "the batch's trace")
    others = recorded(service) - before - {trace_id, batch}
    # Of what was there before this test, some may have come late.
    assert [trace for trace in others if earliest_ns(service, trace) >= began_ns] == []


def test_the_browsers_own_trace_is_continued(
    open_page: OpenPage, service: Service, photo: Path
) -> None:
    """An upload that comes with a traceparent belongs to that trace."""
    trace_id, span_id = "c3" * 16, "d4" * 8
    page = open_page(extra_http_headers={"traceparent": f"00-{trace_id}-{span_id}-01"})
    choose(page, photo)
    assert trace_of(page) == trace_id
    spans = {span["name"]: span for span in service.spans(trace_id, len(SPANS))}
    assert set(spans) == set(SPANS)
    assert spans[SERVER]["parent_span_id"] == span_id


def test_the_trace_is_opened_from_its_link(
    open_page: OpenPage, service: Service, photo: Path
) -> None:
    """The result's link opens the waterfall: spans in order, indented, with their attributes."""
    page = open_page()
    choose(page, photo)
    trace_id = trace_of(page)
    page.locator("#result .ds-trace").click()
    expect(page).to_have_url(f"{service.url}/traces?trace={trace_id}")
    expect(page.locator('.ds-waterfall[data-complete="1"]')).to_be_visible()
    rows = page.locator(".ds-span")
    assert [row.get_attribute("data-name") for row in rows.all()] == list(SPANS)
    depths = [row.get_attribute("data-depth") for row in rows.all()]
    assert depths == ["0", "1", "1", "2", "2", "3", "3", "3"]
    inference = page.locator('.ds-span[data-name="inference"]')
    inference.locator("summary").click()
    expect(inference.locator("dl").last).to_contain_text("damoscope.provider")
    inference.get_by_role("link").click()  # to the model's call for the whole batch
    expect(page.locator('.ds-span[data-name="batch"]')).to_be_visible()
    page.go_back()
    expect(page.locator(f'.ds-waterfall[data-trace="{trace_id}"]')).to_be_visible()


def test_the_image_is_seen_in_its_trace(open_page: OpenPage, service: Service, photo: Path) -> None:
    """Its picture with a box for each object; one that is pointed at, there or in the list, names
    its label and score."""
    page = open_page()
    choose(page, photo)
    trace_id = trace_of(page)
    (process,) = (
        each for each in service.spans(trace_id, len(SPANS)) if each["name"] == "process detections"
    )
    job_id = process["attributes"]["messaging.message.id"]
    with service.client() as client:
        picture = f"/api/v1/traces/{trace_id}/images/{job_id}"
        eventually(lambda: client.get(picture).status_code == 200, "the picture")
    page.goto(f"{service.url}/traces?trace={trace_id}")
    image = page.locator(".ds-seen img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    box, listed = page.locator(".ds-seen .ds-box").first, page.locator(".ds-seen li").first
    expect(box.locator("em")).to_be_hidden()
    listed.hover()
    expect(box.locator("em")).to_be_visible()
    assert box.get_attribute("title") == " ".join(listed.inner_text().split())
    page.mouse.move(0, 0)
    expect(box.locator("em")).to_be_hidden()
    box.hover(force=True)
    expect(page.locator(".ds-seen .lit")).to_have_count(2)


def test_the_list_is_filtered(open_page: OpenPage, service: Service, tmp_path: Path) -> None:
    """Failed images are found by their status; the address keeps what is chosen."""
    bad, good = tmp_path / "bad.jpg", tmp_path / "good.jpg"
    bad.write_bytes(b"no image")
    good.write_bytes(pictures.jpeg(seed=7))
    page = open_page()
    choose(page, bad)
    expect(page.locator("#result .ds-error")).to_be_visible()
    failed = re.sub(r".*trace=", "", str(page.locator("#result a").get_attribute("href")))
    page.get_by_role("button", name="Remove Image").click()
    choose(page, good)
    passed = trace_of(page)
    eventually(lambda: service.summary(passed) and service.summary(failed), "both in the list")
    page.get_by_role("link", name="Traces").click()
    row = 'tr[data-trace="{}"]'
    expect(page.locator(row.format(passed))).to_be_visible()
    page.get_by_role("button", name="Failed").click()
    expect(page.locator(row.format(passed))).to_have_count(0)
    expect(page).to_have_url(f"{service.url}/traces?status=error")
    page.locator(row.format(failed)).click()
    expect(page.locator(".ds-span.failed")).to_have_count(2)
    page.get_by_text("More filters").click()
    page.locator(".ds-filter input[name=min_duration_ms]").fill("3600000")
    page.keyboard.press("Tab")
    expect(page.locator(".ds-rows")).to_contain_text("No image matches this filter.")
    page.reload()
    expect(page.locator(".ds-rows")).to_contain_text("No image matches this filter.")
    expect(page.locator(f'.ds-waterfall[data-trace="{failed}"]')).to_be_visible()


def refused(service: Service, count: int) -> list[str]:
    """Send what is no image; their trace ids, once all of them are listed."""
    with service.client() as client:
        ids = [
            client.post("/api/v1/detect", files={"image": b"no image"}).headers["x-trace-id"]
            for _ in range(count)
        ]
        eventually(
            lambda: set(ids) <= {
                each["trace_id"]
                for each in client.get("/api/v1/traces", params={"limit": 1000}).json()
            },
            "all in the list",
        )  # fmt: skip
    return ids


def test_images_are_found(open_page: OpenPage, service: Service) -> None:
    """By an id that is pasted, by a part of the histogram, page by page; all of it is in the
    address, where Back and reload find it."""
    ids = refused(service, 55)
    page = open_page("/traces?code=invalid_image")
    rows = page.locator(".ds-rows tr[data-trace]")
    expect(rows).to_have_count(50)
    expect(page.locator(".ds-filter input[name=code]")).to_have_value("invalid_image")
    page.get_by_role("button", name="Show more").click()
    expect(rows.nth(54)).to_be_visible()
    listed = {each.get_attribute("data-trace") for each in rows.all()}
    assert set(ids) <= listed
    assert len(listed) == rows.count()
    page.get_by_label("Trace or job id").fill(ids[3])
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    expect(page).to_have_url(f"{service.url}/traces?code=invalid_image&id={ids[3]}")
    expect(page.locator(".ds-total")).to_have_text("1 image")
    bar = page.locator(".ds-histogram button")
    bar.click()
    expect(bar).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile(r"duration_ms="))
    page.reload()
    expect(bar).to_have_attribute("aria-pressed", "true")
    expect(rows).to_have_count(1)
    page.go_back()
    expect(bar).to_have_attribute("aria-pressed", "false")
    page.go_back()
    expect(rows).to_have_count(50)


def test_a_part_of_a_bar_is_counted(open_page: OpenPage, service: Service) -> None:
    """Whoever types durations is told how many images there are between them, though they lie
    within one bar of the histogram."""
    (id,) = refused(service, 1)
    took = service.summary(id)["duration_ms"]
    for least, found in ((took - 0.0005, "1"), (took + 0.0005, "0")):
        page = open_page(f"/traces?id={id}&min_duration_ms={least}")
        expect(page.locator(".ds-total")).to_have_text(f"1 image · {found} selected")


def test_the_focus_stays(open_page: OpenPage, service: Service) -> None:
    """A list that renews itself leaves the keyboard's focus on the image where it was."""
    (first,) = refused(service, 1)
    page = open_page("/traces?status=error")
    link = page.locator(f'tr[data-trace="{first}"] a')
    link.focus()
    (second,) = refused(service, 1)
    expect(page.locator(f'tr[data-trace="{second}"]')).to_be_visible()
    expect(link).to_be_focused()


def test_a_late_answer_changes_nothing(open_page: OpenPage) -> None:
    """The answer to a question that is no longer asked is never shown."""
    page = open_page("/traces")
    expect(page.locator(".ds-rows > *").first).to_be_visible()
    held: list[Route] = []
    page.route("**/pages/traces?label=first", lambda route: held.append(route))
    page.evaluate("history.pushState(null, '', '?label=first')")
    page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    eventually(lambda: held or page.wait_for_timeout(50), "the first question")
    page.evaluate("history.pushState(null, '', '?label=second')")
    page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.locator(".ds-rows")).to_contain_text("No image matches this filter.")
    with contextlib.suppress(Error):  # the page has given it up
        held[0].fulfill(body="<p>too late</p>")
    page.wait_for_timeout(500)
    expect(page.locator(".ds-rows")).to_contain_text("No image matches this filter.")


def test_an_answer_may_take_longer_than_the_pause_between_two(open_page: OpenPage) -> None:
    """The list is asked for anew every three seconds, but not before it has come."""
    page = open_page("/traces")
    expect(page.locator(".ds-rows > *").first).to_be_visible()
    held: list[Route] = []
    counted: list[Route] = []
    page.route("**/pages/traces?label=slow", lambda route: held.append(route))
    page.route("**/pages/traces/histogram?label=slow", lambda route: counted.append(route))
    page.evaluate("history.pushState(null, '', '?label=slow')")
    page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    rounds = 3
    for done in range(rounds):
        eventually(lambda: len(counted) > done or page.wait_for_timeout(50), "a round")  # noqa: B023
        counted[done].fulfill(body="")
    assert len(held) == 1
    held[0].fulfill(body="<p>it came</p>", content_type="text/html")
    expect(page.locator(".ds-rows")).to_contain_text("it came")


def test_what_is_refused_is_said(open_page: OpenPage) -> None:
    """An address that contradicts itself gets the reason in place of the list."""
    page = open_page("/traces?min_score=0.9&max_score=0.1")
    expect(page.get_by_role("alert")).to_have_text("min_score is more than max_score")


def test_trace_and_result_lead_to_each_other(
    open_page: OpenPage, redis: Redis, photo: Path
) -> None:
    """From a result to its trace and back. A picture that is made later than the page appears by
    itself."""
    page = open_page()
    choose(page, photo)
    trace_id = trace_of(page)
    expect(page).to_have_url(re.compile("result="))
    job_id = page.url.split("result=")[1][:32]
    key = kept_key(trace_id, job_id)
    eventually(lambda: redis.exists(key), "the picture")
    redis.rename(key, "hidden")
    page.locator("#result .ds-trace").click()
    expect(page.locator(".ds-seen-images[data-awaited]")).to_be_attached()
    expect(page.locator(".ds-seen img")).to_have_count(0)
    redis.rename("hidden", key)
    expect(page.locator(".ds-seen img")).to_have_js_property("naturalWidth", 320)
    page.get_by_role("link", name="Open the result", exact=True).click()
    expect(page).to_have_url(re.compile(rf"/\?result={job_id}"))
    assert trace_of(page) == trace_id
    page.go_back()
    expect(page.locator(".ds-seen img")).to_have_js_property("naturalWidth", 320)


def test_no_late_trace_takes_the_place_of_another(open_page: OpenPage, service: Service) -> None:
    """A trace whose answer comes after another was chosen, and after its comparison, is not
    shown."""
    first, second = refused(service, 2)
    page = open_page("/traces")
    held: list[Route] = []
    page.route(f"**/pages/traces/{first}", lambda route: held.append(route))
    page.locator(f'tr[data-trace="{first}"] a').click()
    eventually(lambda: held or page.wait_for_timeout(50), "the first trace asked for")
    page.locator(f'tr[data-trace="{second}"] a').click()
    shown = page.locator(".ds-detail .ds-waterfall")
    expect(shown).to_have_attribute("data-trace", second)
    for route in held:
        with contextlib.suppress(Error):  # the page has given it up
            route.fulfill(body="<p>too late</p>")
    page.wait_for_timeout(300)
    expect(shown).to_have_attribute("data-trace", second)


def test_a_trace_that_does_not_exist(open_page: OpenPage) -> None:
    """A link to a trace that is gone says so, after it has waited for one on its way."""
    page = open_page(f"/traces?trace={'0' * 31}1")
    expect(page.locator("[data-waiting]")).to_have_text(re.compile("^This trace is not here yet."))
    expect(page.get_by_text("There is no such trace")).to_be_visible()


def test_a_trace_that_comes_late(open_page: OpenPage, service: Service) -> None:
    """Whoever still looks when the page has said that there is none sees it come."""
    (late,) = refused(service, 1)
    with service.client() as client:
        absent = client.get(f"/pages/traces/{'0' * 31}2").text
    page = open_page("/healthz")
    address = f"**/pages/traces/{late}"
    page.route(address, lambda route: route.fulfill(body=absent, content_type="text/html"))
    page.goto(f"{service.url}/traces?trace={late}")
    expect(page.get_by_text("There is no such trace")).to_be_visible()
    page.unroute(address)
    expect(page.locator(f'.ds-waterfall[data-trace="{late}"]')).to_be_visible()


def test_what_of_gradio_is_closed(service: Service) -> None:
    """Gradio's own tools are not offered, and the API's unknown addresses answer as the API."""
    with service.client() as client:
        for path in (
            "monitoring",
            "monitoring/summary",
            "gradio_api/info",
            "gradio_api/vibe-code/",
        ):
            assert client.get(f"/{path}").status_code == 404, path
        unknown = client.get("/api/v1/unknown")
        assert unknown.status_code == 404
        assert unknown.headers["content-type"] == "application/problem+json"
        assert client.get("/api/v1/detect").status_code == 405
        assert client.get("/docs").status_code == 200
