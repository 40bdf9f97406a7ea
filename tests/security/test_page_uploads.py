"""What pages upload: the limits of the API, little space, few minutes, one trace."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from PIL import Image

from frontend.pages.upload_routes import STREAMS_EACH
from tests.integration import pictures
from tests.security.pages import RATE, UPLOADS_BYTES, Browser, is_refused
from tests.servers import Service, eventually

#: One client's part of the space.
EACH = UPLOADS_BYTES // 4
PAUSE_S = 0.7
STAGES = {"upload", "queue_wait", "preprocess", "inference", "nms"}


@pytest.fixture
def browser(pages_service: Service) -> Iterator[Browser]:
    with Browser(pages_service) as opened:
        yield opened


def stored_bytes(service: Service) -> int:
    return sum(path.stat().st_size for path in (service.home / "uploads").glob("*"))


def body_of(data: bytes) -> bytes:
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    return head + data + b"\r\n--B--\r\n"


def slowly(service: Service, browser: Browser, first: bytes, then: bytes | None) -> bytes:
    """Upload in two parts with a pause between them, from when the service reads; None: go away
    instead."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
    size = len(first) + len(then if then is not None else b"x" * 10_000)
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {size}\r\n"
        f"Cookie: {cookie}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as sender:
        sender.sendall(head.encode())
        assert sender.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sender.sendall(first)
        time.sleep(PAUSE_S)
        if then is None:
            return b""
        sender.sendall(then)
        return b"".join(iter(lambda: sender.recv(65536), b""))


def test_one_image_is_one_trace(pages_service: Service, browser: Browser) -> None:
    """It begins with the upload's first byte, though upload and event are two requests."""
    body = body_of(pictures.jpeg(seed=31))
    began_ns = time.time_ns()
    answer = slowly(pages_service, browser, body[:3000], body[3000:])
    found = re.search(rb'\["([0-9a-f]{32})"\]', answer)
    assert found, answer
    result = browser.detect(found[1].decode())
    trace = re.search(r'data-trace="([0-9a-f]{32})"', result)
    assert trace, result
    spans = pages_service.spans(trace[1], 8)
    assert {span["name"] for span in spans} > STAGES
    assert len(spans) == len({span["span_id"] for span in spans}) == 8
    (root,) = [span for span in spans if span["parent_span_id"] is None]
    assert root["start_unix_ns"] >= began_ns
    assert root["duration_ms"] >= PAUSE_S * 1e3  # which is within the upload
    (again,) = re.findall(r'data-trace="([0-9a-f]{32})"', browser.detect(found[1].decode()))
    assert again != trace[1]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bytes(20 * 2**20 + 1), "The upload has more than the 20,971,520 bytes allowed."),
        (b"", "The upload is empty."),
        (b"%PDF-1.7" + bytes(100), "This is a PDF, not a photograph."),
        (
            pictures.encoded(Image.new("1", (8000, 7000)), "PNG"),
            "The image is 8000 x 7000, more than the 50,000,000 pixels allowed.",
        ),
    ],
    ids=["bytes", "empty", "kind", "pixels"],
)
def test_the_limits_of_the_api(
    pages_service: Service, browser: Browser, data: bytes, why: str
) -> None:
    """A file that the API refuses is refused in the page, in words and with a trace."""
    (upload_id,) = browser.upload(data)
    result = browser.detect(upload_id)
    assert why in result
    assert re.search(r'href="traces\?trace=[0-9a-f]{32}"', result)
    assert stored_bytes(pages_service) <= UPLOADS_BYTES


def test_a_request_beyond_all_limits(pages_service: Service) -> None:
    """One that cannot be honest ends with an answer, not with its last byte."""
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n"
        "Content-Type: multipart/form-data; boundary=B\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", pages_service.port), timeout=60) as sender:
        sender.sendall(head.encode())
        assert sender.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_one_client_has_its_part(pages_service: Service, browser: Browser) -> None:
    """Beyond it, images that were run make room, and where there are none the page says so; the
    space of all is never exceeded."""
    image = pictures.jpeg(seed=32)
    # Three fit in, beside what other tests have left.
    padded = image + bytes(3 * EACH // 10 - len(image))
    (first,) = browser.upload(padded)
    assert "ds-result" in browser.detect(first)
    others = [*browser.upload(padded), *browser.upload(padded), *browser.upload(padded)]
    kept = [browser.client.get(f"/gradio_api/file={each}").status_code for each in (first, *others)]
    assert kept == [404, 200, 200, 200]
    (refused,) = browser.upload(padded)  # the three wait to be run
    assert stored_bytes(pages_service) <= EACH + 2**20
    assert browser.client.get(f"/gradio_api/file={refused}").status_code == 404
    shown = browser.detect(refused)
    assert f"This client&#x27;s images here have more than {EACH:,} bytes" in shown
    for each in others:
        browser.detect(each)
    assert "ds-result" in browser.detect(*browser.upload(image))


def test_what_was_not_uploaded_wholly_is_not_kept(pages_service: Service, browser: Browser) -> None:
    """A client that goes away in the middle leaves no file."""
    before = {path.name for path in (pages_service.home / "uploads").glob("*")}
    slowly(pages_service, browser, body_of(bytes(3 * 2**20))[: 2 * 2**20], None)
    eventually(
        lambda: {path.name for path in (pages_service.home / "uploads").glob("*")} <= before,
        "the file of the upload that was cut off is gone",
    )


def test_how_far_an_upload_is(pages_service: Service, browser: Browser) -> None:
    """A stream of its own tells the browser, and ends: also for an upload that never begins."""
    sent = {"files": ("a.jpg", pictures.jpeg(seed=33), "image/jpeg")}
    browser.client.post("/gradio_api/upload", params={"upload_id": "abc"}, files=sent)
    told = browser.client.get("/gradio_api/upload_progress", params={"upload_id": "abc"})
    assert told.headers["content-type"].startswith("text/event-stream")
    assert '"orig_name": "a.jpg"' in told.text
    assert told.text.endswith('data: {"msg": "done"}\n\n')
    with Browser(pages_service) as other:
        never = other.client.get("/gradio_api/upload_progress", params={"upload_id": "abc"})
        assert never.text == 'data: {"msg": "done"}\n\n'
    for wrong in ("", "../x", "a" * 41):
        asked = browser.client.get("/gradio_api/upload_progress", params={"upload_id": wrong})
        assert is_refused(asked), wrong


def test_an_uploads_kind(browser: Browser) -> None:
    """What is shown is told by its first bytes; whatever else was sent is a download."""
    good, page = browser.upload(pictures.jpeg(seed=34), b"<html><script>alert(1)</script>")
    shown = browser.client.get(f"/gradio_api/file={good}").headers
    assert (shown["content-type"], shown["x-content-type-options"]) == ("image/jpeg", "nosniff")
    other = browser.client.get(f"/gradio_api/file={page}").headers
    assert other["content-type"] == "application/octet-stream"
    assert other["content-disposition"].startswith("attachment")
    preview = browser.client.get(f"/gradio_api/file={page}", headers={"sec-fetch-dest": "image"})
    assert preview.headers["content-type"] == "image/svg+xml"
    assert "script" not in preview.text


def test_event_streams_are_counted(browser: Browser) -> None:
    """So many of one client, and no more; one that has ended makes room again."""
    address = "/gradio_api/upload_progress?upload_id=never"
    with ExitStack() as opened:
        answers = [
            opened.enter_context(browser.client.stream("GET", address)).status_code
            for _ in range(STREAMS_EACH + 1)
        ]
    assert answers == [200] * STREAMS_EACH + [429]
    eventually(lambda: browser.client.get(address).status_code == 200, "a stream is free again")


def test_several_images_on_their_way(browser: Browser) -> None:
    """A batch tells how far it is, ends by itself, and is given up when its page leaves."""
    ids = browser.upload(*(pictures.jpeg(seed=40 + number) for number in range(4)))
    batch = re.search(r'data-batch="([0-9a-f]{32})"', browser.begin_batch(ids))
    assert batch
    address = f"/pages/batches/{batch[1]}"
    done = eventually(
        lambda: (told := browser.client.get(address).json())["finished"] and told,
        "four images are done",
    )
    assert isinstance(done, dict)
    assert sorted(item["place"] for item in done["items"]) == [0, 1, 2, 3]
    assert all(item["boxes"] is not None for item in done["items"])
    rest = browser.client.get(address, params={"since": 3}).json()
    assert rest == {"count": 4, "finished": True, "items": done["items"][3:]}
    assert browser.client.get(address, params={"since": 9}).json()["items"] == []
    for wrong in (-1, "x", 10**9):
        assert is_refused(browser.client.get(address, params={"since": wrong}))
    assert browser.client.delete(address).status_code == 204
    assert browser.client.get(address, params={"since": 3}).json() == rest  # what is done stays
    frame = browser.client.get(f"{address}/view").text
    assert f'data-batch="{batch[1]}" data-count="4"' in frame
    assert is_refused(browser.client.get(f"/pages/batches/{'0' * 32}/view"))
    assert is_refused(browser.client.get("/pages/batches/x"))


def test_the_rate_of_the_api(browser: Browser) -> None:
    """Uploads count against a rate of their own; those beyond it are refused, in words."""
    rate = int(RATE.split("/")[0])
    ids = browser.upload(*[b"x"] * (rate + 1))
    assert "sends more than" in browser.detect(ids[-1])
