"""What a page of another site may do with the service of somebody who opens it: nothing."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from frontend.api.problems import MEDIA_TYPE
from tests.browser.conftest import ARGUMENTS, CHROMIUM, PATIENCE_MS
from tests.paths import ROOT
from tests.security.proxies import program
from tests.servers import Service

PHOTO = (ROOT / "examples" / "several.jpg").read_bytes()
#: An address of each kind: pages, what they are made of, the API, data, files, errors.
ADDRESSES = (
    "/", "/login", "/monitor", "/traces", "/report", "/model", "/theme.css", "/pages/status",
    "/pages/traces", "/pages/monitor/main.js", "/docs", "/docs/assets/swagger-ui.css",
    "/openapi.json", "/healthz", "/readyz", "/api/v1/traces", "/api/v1/stats", "/api/v1/alerts",
    "/api/v1/report", "/api/v1/report?format=html", "/nothing", "/api/v1/stats?window=x",
    f"/api/v1/jobs/{'0' * 32}", "/gradio_api/upload",
)  # fmt: skip
CHANGING = (
    ("POST", "/api/v1/detect"), ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/run/predict"), ("POST", "/api/v1/alerts/silences"),
    ("POST", "/api/v1/alerts/test"), ("POST", "/api/v1/alerts/webhook"),
    ("DELETE", "/api/v1/alerts/silences/x"), ("POST", "/otlp/v1/traces"), ("POST", "/nothing"),
)  # fmt: skip
#: A name of the internet that an attacker lets point at this machine.
EVIL = "evil.example"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, for which the attacker's name is this machine."""
    program("chromium")
    rebound = [*ARGUMENTS, f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=rebound)
        yield opened
        opened.close()


class Site(http.server.BaseHTTPRequestHandler):
    """The attacker's own server: an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def evil(browser: Browser) -> Iterator[Page]:
    """A page of the attacker's, opened in the browser of a person who runs the service."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"http://{EVIL}:{server.server_port}/")
    yield page
    context.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_name_that_is_not_ours(pages_service: Service) -> None:
    """Under it there is nothing, and the answer says what to do; under ours there is everything."""
    with pages_service.client() as client:
        for address in ADDRESSES:
            refused = client.get(address, headers={"host": f"{EVIL}:{pages_service.port}"})
            assert (refused.status_code, refused.headers["content-type"]) == (421, MEDIA_TYPE)
            assert "DAMOSCOPE_PUBLIC_URL" in refused.json()["detail"]
        for method, address in CHANGING:
            assert client.request(method, address, headers={"host": EVIL}).status_code == 421
        for host in ("localhost", "127.0.0.1:1", "[::1]", f"LOCALHOST:{pages_service.port}"):
            assert client.get("/api/v1/traces", headers={"host": host}).status_code == 200


def test_dns_rebinding(pages_service: Service, browser: Browser) -> None:
    """The attacker's page and the service have one origin now; the page reads nothing of it."""
    page = browser.new_page()
    answer = page.goto(f"http://{EVIL}:{pages_service.port}/")
    assert answer is not None
    assert answer.status == 421
    page.close()


def test_another_origin_changes_nothing(pages_service: Service) -> None:
    """Every request that might change something is refused, whatever its body."""
    with pages_service.client() as client:
        for fields in (
            {"origin": f"http://{EVIL}"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
            {"origin": f"http://127.0.0.1:{pages_service.port + 1}", "sec-fetch-site": "same-site"},
        ):  # fmt: skip
            for method, address in CHANGING:
                answer = client.request(method, address, headers=fields, content=b"{}")
                assert answer.status_code == 403, (address, answer.text)
                assert answer.json()["type"] == "urn:damoscope:forbidden"
        own = {"origin": pages_service.url, "sec-fetch-site": "same-origin"}
        image = {"content": PHOTO, "headers": own | {"content-type": "image/jpeg"}}
        assert client.post("/api/v1/detect", **image).status_code == 200


def test_another_origin_in_a_browser(pages_service: Service, evil: Page) -> None:
    """It can neither send an image, nor read, embed or frame what the service answers."""
    tried = evil.evaluate(
        """async (service) => {
            const names = {};
            const attempt = async (name, ask) => {
                try { names[name] = await ask(); } catch (error) { names[name] = error.name; }
            };
            const form = new FormData();
            form.append("image", new Blob(["x"], { type: "image/jpeg" }), "x.jpg");
            await attempt("read", async () => (await fetch(`${service}/api/v1/traces`)).status);
            await attempt("send", async () =>
                (await fetch(`${service}/api/v1/detect`, { method: "POST", body: form })).status);
            await attempt("preflight", async () => (await fetch(`${service}/api/v1/alerts/test`, {
                method: "POST", body: "{}", headers: { "content-type": "application/json" },
            })).status);
            await attempt("embed", () => new Promise((resolve) => {
                const image = new Image();
                image.onload = () => resolve("shown");
                image.onerror = () => resolve("refused");
                image.src = `${service}/docs/assets/favicon-32x32.png`;
            }));
            return names;
        }""",
        pages_service.url,
    )
    assert tried == {
        "read": "TypeError", "send": "TypeError", "preflight": "TypeError", "embed": "refused",
    }  # fmt: skip
    said: list[str] = []
    evil.on("console", lambda message: said.append(message.text))
    with evil.expect_event("console", lambda message: "frame-ancestors" in message.text):
        evil.evaluate(
            """(service) => {
                const frame = document.createElement("iframe");
                frame.src = service;
                document.body.append(frame);
            }""",
            pages_service.url,
        )
    with evil.expect_navigation() as navigation:
        evil.evaluate(
            """(service) => {
                const form = document.createElement("form");
                form.method = "POST";
                form.enctype = "multipart/form-data";
                form.action = `${service}/gradio_api/upload`;
                document.body.append(form);
                form.submit();
            }""",
            pages_service.url,
        )
    assert navigation.value is not None
    assert navigation.value.status == 403


def secured(answer: httpx.Response) -> None:
    """What every answer has to say to browsers."""
    told = answer.headers
    where = (answer.request.method, answer.request.url, answer.status_code)
    assert told["x-content-type-options"] == "nosniff", where
    devices, kind = told.get("permissions-policy", ""), told.get("content-type", "")
    assert ("camera=(self), microphone=()" in devices) == kind.startswith("text/html"), where
    assert told["referrer-policy"] == "same-origin", where
    assert told["cross-origin-resource-policy"] == "same-origin", where
    (policy,) = told.get_list("content-security-policy")
    assert "default-src 'none'" in policy or "default-src 'self'" in policy, where
    assert "frame-ancestors" in policy, where
    assert "//" not in policy, "no other host"
    assert "*" not in policy, where
    assert not [name for name in told if name.startswith("access-control-")], where


def test_what_browsers_are_told(pages_service: Service) -> None:
    """On pages, files, data, errors, and refusals of every layer."""
    with pages_service.client() as client:
        for address in ADDRESSES:
            for method in ("GET", "HEAD", "OPTIONS"):
                secured(client.request(method, address, headers={"origin": f"http://{EVIL}"}))
        for method, address in CHANGING:
            secured(client.request(method, address, content=b"{"))
            secured(client.request(method, address, headers={"origin": f"http://{EVIL}"}))
        secured(client.get("/", headers={"host": EVIL}))
        secured(
            client.post("/api/v1/detect", content=PHOTO, headers={"content-type": "image/jpeg"})
        )
        page = client.get("/openapi.json").headers["content-security-policy"]
        assert page == "default-src 'none'; frame-ancestors 'none'"
