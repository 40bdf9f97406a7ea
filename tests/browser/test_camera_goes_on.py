"""The Detect page's camera, live, when something happens that nobody asked for: it goes on, or says
why it does not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.browser.camera import DETECT, FRAMES, OpenCamera, do, frames
from tests.servers import Service


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 400, "body": '{"detail": "the image is not whole"}'},
        {"status": 404, "body": "no such page"},
        {"status": 200, "body": '{"login": "This network wants to know who you are"}'},
        {"status": 200, "body": "<html>"},
    ],
)
def test_a_frame_that_went_astray(open_camera: OpenCamera, answer: dict[str, Any]) -> None:
    """One that was cut short, or that something on the way answered which is no service, is not the
    last: the next one is another image."""
    page = open_camera()
    astray: list[str] = []

    def lose(route: Route) -> None:
        astray.append(route.request.url)
        if len(astray) in (1, 2, 4):  # never three in a row
            route.fulfill(**answer)
        else:
            route.continue_()

    page.route(DETECT, lose)
    do(page, "live")
    frames(page, 3)
    expect(page.locator('.ds-camera [data-figure="errors"]')).to_have_text("3")
    expect(page.locator('.ds-camera[data-state="live"]')).to_be_visible()
    do(page, "stop")


def test_a_camera_without_a_picture(open_camera: OpenCamera) -> None:
    """One whose frames stay away is waited for, which is said; so is one whose frames cannot be
    drawn for want of memory. When there is a picture again it goes on."""
    page = open_camera()
    do(page, "live")
    frames(page)
    video = page.locator(".ds-camera video")
    told = page.locator(".ds-camera .ds-outdated")
    for begin, end in (
        ("video => { video.requestVideoFrameCallback = () => 0; }",
         "video => { delete video.requestVideoFrameCallback; }"),
        ("() => { HTMLCanvasElement.prototype.real = HTMLCanvasElement.prototype.getContext;"
         " HTMLCanvasElement.prototype.getContext = () => null; }",
         "() => { HTMLCanvasElement.prototype.getContext = HTMLCanvasElement.prototype.real; }"),
    ):  # fmt: skip
        video.evaluate(begin)
        expect(told).to_have_text(
            "The camera gives no picture at present. It goes on when there is one."
        )
        expect(page.locator('.ds-camera [data-figure="rate"]')).to_have_text("–")
        count = int(page.locator(FRAMES).inner_text())
        video.evaluate(end)
        frames(page, count + 2)
        expect(told).to_be_hidden()
    do(page, "stop")


def test_a_picture_that_the_browser_stops(open_camera: OpenCamera) -> None:
    """A browser pauses what is moved within its page: it is played on."""
    page = open_camera()
    do(page, "live")
    frames(page)
    video = page.locator(".ds-camera video")
    for stop in (
        "video => video.pause()",
        "video => { const place = video.parentElement; video.remove(); place.prepend(video); }",
    ):
        video.evaluate(stop)
        count = int(page.locator(FRAMES).inner_text())
        frames(page, count + 3)
    expect(video).to_have_js_property("paused", False)
    do(page, "stop")


def test_a_page_that_is_laid_out_anew(open_camera: OpenCamera) -> None:
    """What is not seen for a moment only stays on; and a tab that is drawn anew has the camera as
    it was, with nothing left of the one before."""
    page = open_camera()
    do(page, "live")
    frames(page)
    camera = page.locator(".ds-camera")
    camera.evaluate(
        """camera => new Promise((done) => {
          camera.style.display = "none";
          new ResizeObserver((_, seen) => {
            if (camera.offsetWidth) return;
            seen.disconnect();
            camera.style.display = "";
            done();
          }).observe(camera);
        })"""
    )
    expect(camera).to_have_attribute("data-state", "live")
    track = page.locator(".ds-camera video").evaluate_handle(
        "video => video.srcObject.getVideoTracks()[0]"
    )
    page.evaluate(
        """async () => {
          const place = document.querySelector("#camera .ds-camera").parentElement;
          const { start } = await import(new URL("./pages/detect/camera.js", document.baseURI));
          const anew = place.cloneNode(true);
          delete anew.querySelector(".ds-camera").dataset.state;
          anew.querySelector('[data-figure="frames"]').textContent = "–";
          place.replaceWith(anew);
          start(anew, {});
        }"""
    )
    page.wait_for_function("track => track.readyState === 'ended'", arg=track)
    expect(camera).to_have_attribute("data-state", "live")
    frames(page, 3)
    do(page, "stop")
    expect(camera).to_have_attribute("data-state", "off")


def test_an_error_of_the_page_is_said(cameras: Browser, service: Service) -> None:
    """What nobody thought of ends it, visibly, and the camera is given back."""
    with cameras.new_context(permissions=["camera"]) as context:
        page = context.new_page()
        page.goto(service.url)
        page.get_by_role("tab", name="Camera").click()
        expect(page.locator(".ds-camera form:not([inert])")).to_be_visible()
        page.evaluate(
            "() => { HTMLCanvasElement.prototype.toBlob = () => { throw new Error('broken'); }; }"
        )
        do(page, "live")
        expect(page.locator(".ds-camera .ds-error")).to_have_text(
            "Something went wrong on this page. Go live again, or reload the page."
        )
        expect(page.locator('.ds-camera[data-state="off"]')).to_be_visible()


def test_a_part_that_is_lost_elsewhere(open_camera: OpenCamera) -> None:
    """The page is loaded again for it when the camera is off, and not before."""
    page = open_camera()
    do(page, "live")
    frames(page)
    page.evaluate(
        """() => {
          window.here = true;
          window.dispatchEvent(new Event("vite:preloadError", { cancelable: true }));
          document.dispatchEvent(new Event("ds-look")); // as the header does every 3 seconds
        }"""
    )
    frames(page, int(page.locator(FRAMES).inner_text()) + 3)
    assert page.evaluate("window.here")
    do(page, "stop")
    page.wait_for_function("!window.here")


def test_an_address_that_is_slow_to_be_read(cameras: Browser, service: Service) -> None:
    """Who goes to the camera before the script is there that shows what the address names stays
    at the camera."""
    with cameras.new_context(permissions=["camera"]) as context:
        page = context.new_page()
        held: list[Route] = []
        page.route("**/pages/detect/one.js", lambda route: held.append(route))
        page.goto(f"{service.url}/?result={'ab' * 16}")
        page.get_by_role("tab", name="Camera").click()
        expect(page.locator(".ds-camera form:not([inert])")).to_be_visible()
        do(page, "live")
        frames(page)
        with page.expect_response(re.compile("/pages/results/")):
            for route in held:
                route.continue_()
        frames(page, int(page.locator(FRAMES).inner_text()) + 3)
        expect(page.locator('.ds-camera[data-state="live"]')).to_be_visible()
        do(page, "stop")
