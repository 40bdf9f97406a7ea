"""Gradio's back door: nothing that a client names is opened, whatever it is called."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration import pictures
from tests.paths import ROOT
from tests.security.pages import PAGES, RUN, Browser, is_refused
from tests.servers import Service, eventually


@pytest.fixture
def browser(pages_service: Service) -> Iterator[Browser]:
    with Browser(pages_service) as opened:
        yield opened


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """An image of the host that nobody has uploaded."""
    path = tmp_path / "secret.jpg"
    path.write_bytes(pictures.jpeg(seed=77))
    (tmp_path / "link.jpg").symlink_to(path)
    return path


def names(secret: Path, service: Service) -> list[str]:
    """What an attacker would name."""
    relative = os.path.relpath(secret, service.home)
    return [
        str(secret), str(secret.parent / "link.jpg"), f"{service.home}/uploads/../{relative}",
        relative,
        "../../../../../../etc/hostname", "/etc/passwd", "/dev/zero", "/proc/self/environ",
        str(service.home / "telemetry.db"), f"file://{secret}", f"{service.url}/healthz",
        "http://169.254.169.254/latest/meta-data/", "data:image/png;base64,iVBORw0KGgo=", "\x00",
        "~",
    ]  # fmt: skip


def shapes(name: str) -> Iterator[Any]:
    """The ways to name it: as a file, and as whatever else Gradio takes for one."""
    meta = {"_type": "gradio.FileData"}
    file = {"path": name, "meta": meta, "orig_name": "a.jpg", "size": 10, "is_stream": False}
    yield file
    if name.endswith(("secret.jpg", "/dev/zero")):
        yield from (
            name,
            {"path": name, "url": name},
            {**file, "url": name, "path": None},
            [[file]],
        )
        yield {"value": file, "__type__": "update"}


@contextmanager
def answering(service: Service) -> Iterator[None]:
    """Asks all the while whether the process is up, and wants an answer each time."""
    over, answers = threading.Event(), []

    def ask() -> None:
        with service.client() as client:
            while not over.wait(0.05):
                answers.append(client.get("/healthz").status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert set(answers) == {200}


def files(service: Service) -> set[Path]:
    return {path for path in (service.home / "uploads").rglob("*") if path.is_file()}


def test_no_event_opens_what_is_named(
    browser: Browser, pages_service: Service, secret: Path
) -> None:
    """Each registered event, at each position: a name is refused, is opened by nothing, is kept
    nowhere, and is not looked for. The service answers others all the while."""
    before = files(pages_service)
    events = browser.events()
    assert sum(bool(event["inputs"]) for event in events) > 4
    tried = 0
    with answering(pages_service):
        for event in events:
            positions = len(event["inputs"])
            for position in range(positions):
                for name in names(secret, pages_service):
                    for shape in shapes(name):
                        data: list[Any] = ["", 0.3, 0.6, *([""] * positions)][:positions]
                        data[position] = shape
                        answer = browser.event(event["id"], data)
                        assert is_refused(answer), (event["id"], position, shape, answer.text)
                        tried += 1
    assert tried > 300
    assert files(pages_service) == before


@pytest.mark.parametrize(
    "address",
    [
        "/gradio_api/queue/join", "/gradio_api/api/predict", "/gradio_api/call/arrived",
        "/gradio_api/call/v2/arrived", "/gradio_api/run/arrived", "/gradio_api/component_server",
        "/gradio_api/run/predict/", "/gradio_api/run/predict?fn_index=1",
        "/gradio_api/run%2Fpredict",
        "/gradio_api/./run/predict", "//gradio_api/run/predict", "/gradio_api/run//predict",
        "/GRADIO_API/run/predict", "/gradio_api/Run/Predict", "/gradio_api/run/predict%00",
        "/gradio_api/%72un/predict", "/run/predict", "/api/predict",
        "/assets/../gradio_api/run/predict",
        "/gradio_api/process_recording", "/gradio_api/stream/abc", "/gradio_api/cancel",
    ],
)  # fmt: skip
def test_every_address_that_runs_events(browser: Browser, secret: Path, address: str) -> None:
    """Twins, casings and encodings of the address of events: they do not exist, or refuse too."""
    file = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    for event in browser.events():
        data = [file, 0.3, 0.6, "", ""][: len(event["inputs"])] or [file]
        body = {"fn_index": event["id"], "data": data, "session_hash": "abc"}
        url = httpx.URL(str(browser.client.base_url).rstrip("/") + address)
        answer = browser.client.post(url, json=body, follow_redirects=True)
        assert is_refused(answer), (answer.status_code, answer.text)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "address",
    [
        "/gradio_api/queue/data?session_hash=abc", "/gradio_api/queue/status",
        "/gradio_api/call/arrived/abc", "/gradio_api/heartbeat/abc", "/gradio_api/startup-events",
        "/gradio_api/file=/etc/passwd", "/gradio_api/file=/proc/self/environ",
        "/gradio_api/file=../../etc/passwd", "/gradio_api/file=%2e%2e%2fetc%2fpasswd",
        "/gradio_api/file=http://127.0.0.1/x.jpg", "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/deep_link?session_hash=abc",
        "/gradio_api/custom_component/a/client/b/c", "/gradio_api/runs", "/svelte/x", "/monitoring",
        "/static/../../../../../etc/passwd", "/assets/%2e%2e/%2e%2e/%2e%2e/routes.py",
        "/assets//etc/passwd", "/static/%2fetc%2fpasswd", "/pages/examples/..%2f__init__.py",
    ],
)  # fmt: skip
def test_no_other_address_reads_or_streams(browser: Browser, method: str, address: str) -> None:
    """Files of the host, other sessions' event streams, and what else Gradio has."""
    url = httpx.URL(str(browser.client.base_url).rstrip("/") + address)
    answer = browser.client.request(method, url, json={})
    assert is_refused(answer), (answer.status_code, answer.text[:200])


WRONG_NUMBERS = [-1, 999, 10**30, "0", "../0", None, 0.5, True, [0], {}, "arrived"]
WRONG_DATA: list[Any] = [
    None, "x", {}, 7, [], [""], ["", 0.3, 0.6], ["", 0.3, 0.6, ""],
    ["", 0.3, 0.6, "", "", ""],
    *(
        [*wrong, "", ""]
        for wrong in (
            ["", "0.3", 0.6], ["", None, 0.6], ["", [0.3], 0.6], ["", True, 0.6], ["", 2, 0.6],
            ["", -1, 0.6], ["", 1e300, 0.6], ["", 10**400, 0], [7, 0.3, 0.6], [None, 0.3, 0.6],
            [["a"], 0.3, 0.6], ["a" * 31, 0.3, 0.6], ["A" * 32, 0.3, 0.6],
            ["\u0661" * 32, 0.3, 0.6], ["a" * 32 + "\n", 0.3, 0.6], [" ", 0.3, 0.6],
            ["x" * 100_000, 0.3, 0.6], [{"__type__": "update"}, 0.3, 0.6],
        )
    ),
    *(
        ["", 0.3, 0.6, tiles, ""]
        for tiles in ("4", "0x4", "4x3x2", "AUTO", "auto\n", "100x2", " ", None, 4, ["auto"])
    ),
    *(
        ["", 0.3, 0.6, "", model]
        for model in ("A", "../x", "x\n", "x" * 65, " ", "a:b", None, 4, ["x"])
    ),
    [0] * 10_000,
]  # fmt: skip


def test_events_that_no_page_sends(browser: Browser, pages_service: Service) -> None:
    """Unknown events, missing and surplus arguments, wrong kinds of values: a 4xx each time."""
    with answering(pages_service):
        for number in WRONG_NUMBERS:
            assert is_refused(browser.event(number, ["", 0.3, 0.6, "", ""])), number
        for event in browser.handled():
            if not event["inputs"]:
                continue
            for data in WRONG_DATA:
                answer = browser.event(event["id"], data)
                assert is_refused(answer), (event["id"], data, answer.text[:300])
        for event in browser.events():
            if not event["backend_fn"]:  # what only the browser does
                assert is_refused(browser.event(event["id"], [None]))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422), (b"null", 422), (b"[]", 422), (b"{", 422), (b"\xff\xfe", 422),
        (b"[" * 100_000, 422),
        (b'{"fn_index":2,"data":[' + b"[" * 60_000 + b"]" * 60_000 + b"]}", 422),
        (b'{"fn_index":2,"data":["",NaN,0.5,"",""]}', 422),
        (b'{"fn_index":2,"data":["",Infinity,0.5,"",""]}', 422),
        (b'{"fn_index":2,"data":["",1e999,0.5,"",""]}', 422),
        (b'{"fn_index":2,"data":["",0.5,-Infinity,"",""]}', 422),
        (b'{"fn_index":2,"data":["\\ud800",0.3,0.5,"",""]}', 422),
        (b'{"fn_index":2,"data":["' + b"a" * 200_000 + b'",0.3,0.5,"",""]}', 413),
        (b'{"x":"' + b"a" * 20_000_000 + b'"}', 413),
    ],
)  # fmt: skip
def test_bodies_that_no_page_sends(browser: Browser, body: bytes, status: int) -> None:
    """What is no JSON, too deep, too long or no number is refused, and soon."""
    answer = browser.client.post(RUN, content=body, headers={"content-type": "application/json"})
    assert is_refused(answer), answer.text[:300]
    assert answer.status_code == status


def test_what_is_said_besides_changes_nothing(browser: Browser) -> None:
    """Members that Gradio would follow are left out: nothing is batched, resumed or streamed."""
    number = next(event["id"] for event in browser.handled() if event["inputs"])
    plain = browser.event(number, ["", 0.3, 0.6, "", ""]).json()["data"]
    more: dict[str, Any] = {
        "batched": True, "simple_format": True, "event_id": "x", "trigger_id": 10**9,
        "oauth_token": "x", "session_hash": ["x"], "event_data": {"path": "/etc/passwd"},
    }  # fmt: skip
    answer = browser.event(number, ["", 0.3, 0.6, "", ""], **more)
    assert (answer.status_code, answer.json()["data"]) == (200, plain)
    page = browser.client.get("/", params={"deep_link": "../../etc", "__theme": "x"})
    assert page.status_code == 200


def test_what_is_anothers(pages_service: Service) -> None:
    """Uploads, results and batches of one browser do not exist for another."""
    with Browser(pages_service) as mine, Browser(pages_service) as other:
        (mine_id,) = mine.upload(pictures.jpeg(seed=5))
        gone = "The uploaded file is kept no longer; choose it again."
        assert gone in other.detect(mine_id)
        assert gone in other.detect("0" * 32)
        shown = re.search(r"pages/results/([0-9a-f]{32})/image", mine.detect(mine_id))
        assert shown
        begun = mine.begin_batch(mine.upload(pictures.jpeg(seed=6), pictures.jpeg(seed=7)))
        batch = re.search(r'data-batch="([0-9a-f]{32})"', begun)
        assert batch
        eventually(
            lambda: mine.client.get(f"/pages/batches/{batch[1]}").json()["finished"], "batch"
        )
        base = f"/pages/results/{shown[1]}"
        theirs = [
            f"/gradio_api/file={mine_id}", f"{base}/image", f"{base}/preview", f"{base}/boxes.jpg",
            f"{base}/result.json", f"/pages/batches/{batch[1]}",
            f"/pages/batches/{batch[1]}/view",
            f"/pages/results/batch/{batch[1]}/results.json",
            f"/pages/results/batch/{batch[1]}/images.zip",
        ]  # fmt: skip
        with pages_service.client() as nobody:
            for address in theirs:
                assert mine.client.get(address).status_code == 200, address
                assert is_refused(other.client.get(address)), address
                assert is_refused(nobody.get(address)), address
        assert is_refused(other.client.delete(f"/pages/batches/{batch[1]}"))
        assert mine.client.get(f"/pages/batches/{batch[1]}").status_code == 200


def test_the_browsers_name(pages_service: Service) -> None:
    """No script can read it, no other site's request carries it, and only a good one is taken."""
    with pages_service.client() as client:
        cookie = client.get("/").headers["set-cookie"]
        assert re.fullmatch(
            r"damoscope_browser=[0-9a-f]{32}; Path=/; HttpOnly; SameSite=Lax", cookie
        )
        assert "set-cookie" not in client.get("/").headers
        bad = {"cookie": "damoscope_browser=x; Path=/"}
        client.cookies.clear()
        assert "set-cookie" in client.get("/", headers=bad).headers


def test_no_answer_shows_a_path(browser: Browser, pages_service: Service) -> None:
    """Not of the home, of the temporary folder, of the code or of its packages."""
    (upload_id,) = browser.upload(pictures.jpeg(seed=8))
    sent = {"files": ("a.jpg", pictures.jpeg(seed=9), "image/jpeg")}
    given: list[Any] = [
        [],
        [upload_id, 0.3, 0.6, "", ""],
        [{"path": "/etc/passwd"}, 0.3, 0.6, "", ""],
        ["x"],
    ]
    answers = [
        browser.client.post("/gradio_api/upload", files=sent),
        *(browser.event(event["id"], data) for event in browser.events() for data in given),
    ]
    texts = [answer.text for answer in answers]
    found = set(re.findall(r"(?:pages|gradio_api)/[\w/=.-]+", json.dumps(texts)))
    addresses = [
        *PAGES, *(f"/{address}" for address in found), f"/gradio_api/file={upload_id}",
        "/theme.css",
        "/gradio_api/file=nothing", "/assets/nothing.js", "/static/nothing", "/assets", "/static/",
        "/gradio_api/upload", "/gradio_api/upload_progress?upload_id=!", "/pages/results/x/image",
        "/pages/batches/x", "/pages/status", "/nothing", "/docs", "/openapi.json", "/readyz",
        "/api/v1/stats", "/api/v1/traces", "/api/v1/alerts", "/pages/traces",
    ]  # fmt: skip
    texts += [answer.text + str(answer.headers) for answer in map(browser.client.get, addresses)]
    packages = str(Path(sys.prefix).resolve())
    for path in (str(pages_service.home), str(ROOT), packages, "/tmp/gradio", "site-packages"):
        assert not [text for text in texts if path in text], path
