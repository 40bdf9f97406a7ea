"""The Detect page's camera: a film of photographs that Chromium takes for one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser import layout
from tests.browser.camera import DETECT, FRAMES, OpenCamera, do, frames
from tests.faults.test_clients import (
    eventually_counted,
    images,
    no_worker_takes,
    outcomes,
    waiting,
)
from tests.servers import Service, eventually

FACTS = ("format", "width", "height")


def test_frames_are_sent_one_after_another(open_camera: OpenCamera, service: Service) -> None:
    """Live, each frame is a JPEG of the chosen size, sent when the one before it was answered; its
    boxes lie over the picture, and its figures and its trace are told."""
    page = open_camera()
    under_way = [0, 0]

    def begun(request: Any) -> None:
        if DETECT.search(request.url):
            under_way[0] += 1
            under_way[1] = max(under_way)

    def ended(request: Any) -> None:
        under_way[0] -= bool(DETECT.search(request.url))

    page.on("request", begun)
    page.on("requestfinished", ended)
    page.on("requestfailed", ended)
    do(page, "live")
    expect(page.locator(".ds-camera .ds-box em").first).to_have_text(re.compile(r"phone 0\.\d\d"))
    frames(page, 5)
    expect(page.locator('.ds-camera [data-figure="rate"]')).to_have_text(re.compile(r"^[\d.]+$"))
    for name in ("latency", "p50", "p95"):
        figure = page.locator(f'.ds-camera [data-figure="{name}"]')
        expect(figure).to_have_text(re.compile("^[\\d.]+\N{NO-BREAK SPACE}m?s$"))
    do(page, "stop")
    assert under_way[1] == 1
    trace = page.locator(".ds-frames tbody a").first.get_attribute("title")
    assert trace
    (upload,) = [span for span in service.spans(trace, 8) if span["name"] == "upload"]
    told = {name: upload["attributes"][f"damoscope.image.{name}"] for name in FACTS}
    assert told == {"format": "JPEG", "width": 640, "height": 480}
    assert page.locator(".ds-camera video").evaluate("video => video.srcObject") is None


def test_the_score_chooses_at_once(open_camera: OpenCamera) -> None:
    """Boxes under the threshold are gone before the next frame is answered."""
    page = open_camera()
    page.locator("#camera-score input[type=number]").fill("0.05")
    do(page, "live")
    expect(page.locator(".ds-camera .ds-box").first).to_be_visible()
    page.context.set_offline(True)  # no frame is answered from now on
    expect(page.locator(".ds-camera .ds-outdated")).to_have_text(re.compile("does not answer"))
    page.locator("#camera-score input[type=number]").fill("0.99")
    expect(page.locator(".ds-camera .ds-box")).to_have_count(0)
    expect(page.locator(".ds-camera h2")).to_have_text("Nothing found")
    count = page.locator(FRAMES).inner_text()
    page.context.set_offline(False)
    frames(page, int(count) + 1)  # it goes on by itself


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (429, {"Retry-After": "3"}, "more frames than one client may send. It goes on in 3\u00a0s"),
        (503, {"Retry-After": "2"}, "takes no images now. It is asked again in 2\u00a0s"),
        (504, {}, "There was no answer in time. It is asked again in 1\u00a0s"),
        (502, {}, "could not be answered. The next one is sent in 2\u00a0s"),
    ],
)
def test_a_refusal_is_waited_out(
    open_camera: OpenCamera, status: int, headers: dict[str, str], said: str
) -> None:
    """As long as the service asks for, it is asked for nothing, and that is said; then it goes
    on."""
    page = open_camera()
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        if len(refused) == 1:
            route.fulfill(status=status, headers=headers, body="{}")
        else:
            route.continue_()

    page.route(DETECT, refuse)
    page.evaluate(
        """() => {
          const place = document.querySelector(".ds-camera .ds-outdated");
          window.said = [];
          const all = { childList: true, attributes: true, characterData: true, subtree: true };
          new MutationObserver(() => said.push(place.textContent)).observe(place, all);
        }"""
    )
    do(page, "live")
    frames(page)
    assert any(said in line for line in page.evaluate("said"))
    expect(page.locator('.ds-camera [data-figure="errors"]')).to_have_text("1")
    do(page, "stop")


def test_what_does_not_pass_ends_it(open_camera: OpenCamera) -> None:
    """What the service never takes is not sent again and again: it says why, and the camera is
    given back."""
    page = open_camera()
    detail = '{"detail": "labels: no model here knows this"}'
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=422, body=detail)

    page.route(DETECT, refuse)
    do(page, "live")
    expect(page.locator(".ds-camera .ds-error")).to_have_text(
        "The service does not take these frames: labels: no model here knows this"
    )
    expect(page.locator('.ds-camera[data-state="off"]')).to_be_visible()
    assert len(refused) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotAllowedError", "does not let this page use the camera"),
        ("NotFoundError", "There is no camera here"),
        ("NotReadableError", "another program may be using it"),
        (None, "only to pages that come by https"),
    ],
)
def test_no_camera_is_said(open_camera: OpenCamera, name: str | None, said: str) -> None:
    """Whatever a browser says, the page says what to do."""
    page = open_camera()
    page.evaluate(
        """(name) => Object.defineProperty(navigator, "mediaDevices", { value: name && {
          getUserMedia: () => Promise.reject(new DOMException("no", name)),
        } })""",
        name,
    )
    do(page, "live")
    expect(page.locator(".ds-camera .ds-error")).to_contain_text(said)
    expect(page.locator('.ds-camera [data-do="live"]')).to_be_visible()


def test_a_browser_that_says_no(open_camera: OpenCamera) -> None:
    """Chromium itself, where the person has not allowed it."""
    page = open_camera(permissions=())
    do(page, "open")
    expect(page.locator(".ds-camera .ds-error")).to_contain_text("does not let this page use")


def test_a_camera_that_is_unplugged(open_camera: OpenCamera) -> None:
    """The end of the camera's track ends it, and is said."""
    page = open_camera()
    do(page, "live")
    frames(page)
    page.locator(".ds-camera video").evaluate(
        "video => video.srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
    )
    expect(page.locator(".ds-camera .ds-error")).to_contain_text("was disconnected")
    expect(page.locator('.ds-camera[data-state="off"]')).to_be_visible()


def test_a_hidden_page_sends_nothing(open_camera: OpenCamera) -> None:
    """Frames stop when the page is hidden, and go on when it is seen again."""
    page = open_camera()
    do(page, "live")
    frames(page)
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    expect(page.locator(".ds-camera .ds-outdated")).to_have_text(
        "Nothing is sent while this page is not seen."
    )
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.wait_for_timeout(500)
    assert not any(DETECT.search(url) for url in sent)
    count = int(page.locator(FRAMES).inner_text())
    page.evaluate(hide, False)
    frames(page, count + 2)
    do(page, "stop")


def test_another_tab_gives_the_camera_back(open_camera: OpenCamera) -> None:
    """Who goes to another tab of the page is no longer filmed."""
    page = open_camera()
    do(page, "live")
    frames(page)
    track = page.locator(".ds-camera video").evaluate_handle(
        "video => video.srcObject.getVideoTracks()[0]"
    )
    page.get_by_role("tab", name="Several images").click()
    page.wait_for_function("track => track.readyState === 'ended'", arg=track)
    page.get_by_role("tab", name="Camera").click()
    expect(page.locator(".ds-camera .ds-outdated")).to_have_text(
        "The camera was given back when you went to another tab or page."
    )


def test_who_leaves_takes_the_frame_along(open_camera: OpenCamera, service: Service) -> None:
    """A frame that waits for a worker is withdrawn when its page is left."""
    page = open_camera()
    with service.redis() as redis, service.client() as client:
        before = outcomes(client)
        with no_worker_takes(redis):
            do(page, "live")
            eventually(lambda: waiting(redis) == 1, "a frame in the queue")
            page.goto("about:blank")
            eventually(lambda: waiting(redis) == images(redis) == 0, "an empty queue")
            eventually_counted(client, before, {"cancelled": 1})


def test_a_picture_is_taken(open_camera: OpenCamera) -> None:
    """A still goes the way of any photograph, in the camera's own size, and the camera is given
    back."""
    page = open_camera()
    do(page, "open")
    expect(page.locator('.ds-camera[data-state="open"]')).to_be_visible()
    page.wait_for_function("document.querySelector('.ds-camera video').videoWidth > 0")
    do(page, "still")
    expect(page.locator("#result .ds-result")).to_be_visible()
    expect(page.locator("#result .ds-result > header")).to_contain_text("640 × 480 JPEG")
    expect(page.get_by_role("tab", name="One image")).to_have_attribute("aria-selected", "true")


def test_a_mirror(open_camera: OpenCamera) -> None:
    """A mirrored picture has its boxes where the things are seen."""
    page = open_camera()
    do(page, "live")
    box = page.locator(".ds-camera .ds-box").first
    expect(box).to_be_visible()
    left = "box => parseFloat(box.style.left) + parseFloat(box.style.width) / 2"
    before = box.evaluate(left)
    page.locator('.ds-camera [name="mirror"]').check()
    assert box.evaluate(left) == pytest.approx(100 - before, abs=5)
    expect(page.locator(".ds-camera video.mirrored")).to_be_visible()
    do(page, "stop")


def test_on_a_telephone_in_chinese(open_camera: OpenCamera) -> None:
    """The rear camera is asked for, and the picture comes before the sliders."""
    page = open_camera(locale="zh-CN", viewport={"width": 390, "height": 844})
    page.evaluate(
        """() => {
          const devices = navigator.mediaDevices, own = devices.getUserMedia.bind(devices);
          devices.getUserMedia = (asked) => {
            window.asked = asked;
            return own(asked);
          };
        }"""
    )
    do(page, "live")
    frames(page)
    assert page.evaluate("asked.video.facingMode") == {"ideal": "environment"}
    assert page.evaluate("asked.audio") is False
    picture = page.locator(".ds-camera .ds-photo").bounding_box()
    slider = page.locator("#camera-score").bounding_box()
    assert picture
    assert slider
    assert picture["y"] < slider["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert layout.faults(page) == []
    do(page, "stop")
