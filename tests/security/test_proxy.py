"""The service behind real proxies, as docs/proxy.md configures them, asked by a real browser."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.paths import ROOT
from tests.security.proxies import (
    caddy,
    certificate,
    documented,
    nginx,
    program,
    replaced,
)
from tests.servers import Process, Service, eventually, free_port

pytestmark = pytest.mark.timeout(600)  # the first has to wait for the services

PHOTO = ROOT / "examples" / "several.jpg"
expect.set_options(timeout=150_000)

#: Another way to reach the same service: over a named upstream, with nothing that tells it who
#: asks for what, and with the path stripped off.
BARE = """
upstream bare {{ server 127.0.0.1:{service}; }}
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location /a/b/ {{
        proxy_pass http://bare/;
        {host}
        client_max_body_size 21m;
    }}
}}
"""
#: The least that one can write.
LEAST = """
upstream least {{ server 127.0.0.1:{service}; }}
server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://least; }}
}}
"""


class Places(NamedTuple):
    """Where the service is reached."""

    service: Service
    #: As documented: https, the path kept.
    documented: str
    #: https, the path stripped off; the upstream's name as `Host`, or none at all.
    named: str
    hostless: str
    #: http, at `/`.
    root: str
    #: By Caddy as documented, without TLS.
    caddy_port: int


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """One service, another frontend of it with another public URL, and the proxies."""
    folder = tmp_path_factory.mktemp("proxy")
    made, key = certificate(folder)
    ports = [free_port() for _ in range(6)]
    tls, named, hostless, root, other, plain = ports
    public = f"https://127.0.0.1:{tls}/a/b"
    limits = {"DAMOSCOPE_TRUSTED_PROXIES": "127.0.0.1", "DAMOSCOPE_SCORE_THRESHOLD": "0.02"}
    with Service(folder / "home", pages=True, DAMOSCOPE_PUBLIC_URL=public, **limits) as service:
        sites = replaced(
            documented("nginx"),
            ("127.0.0.1:7860", f"127.0.0.1:{service.port}"),
            ("listen 443 ssl", f"listen 127.0.0.1:{tls} ssl"),
            ("exams.example;", "127.0.0.1;"),
            ("/etc/ssl/exams.example.pem", str(made)),
            ("/etc/ssl/exams.example.key", str(key)),
            ("/phones", "/a/b"),
        )
        bare = {"service": service.port, "certificate": made, "key": key}
        sites += BARE.format(port=named, host="", **bare)
        sites += BARE.format(port=hostless, host='proxy_set_header Host "";', **bare).replace(
            "bare", "nobody"
        )
        sites += LEAST.format(port=root, service=other)
        service.wait_until_ready()
        command = [sys.executable, "-m", "run", "frontend"]
        env = {
            "DAMOSCOPE_HOME": str(folder / "other"), "DAMOSCOPE_PORT": str(other),
            "DAMOSCOPE_PUBLIC_URL": f"http://127.0.0.1:{root}",
            "REDIS_URL": f"unix://{service.home}/redis/redis.sock",
        }  # fmt: skip
        with (
            Process(command, folder / "other", env) as frontend,
            nginx(folder / "nginx", sites, tls, named, hostless, root),
        ):
            eventually(
                lambda: _ready(f"http://127.0.0.1:{other}", frontend),
                "the other frontend",
            )
            yield Places(
                service, public, f"https://127.0.0.1:{named}/a/b",
                f"https://127.0.0.1:{hostless}/a/b", f"http://127.0.0.1:{root}", plain,
            )  # fmt: skip


def _ready(url: str, process: Process) -> bool:
    assert process.running, process.output
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens a page whose every request must stay on its own host and under its own path, and that
    must not break its own policy."""
    wrong: list[str] = []
    contexts = []

    def opened(base: str, path: str, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": 1400, "height": 900}, ignore_https_errors=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(150_000)
        own = (f"{base}/", "data:", "blob:")
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on(
            "console",
            # The browser asks for the host's own favicon, too, which is not ours under a path.
            lambda said: (
                wrong.append(said.text)
                if said.type == "error" and "Failed to load resource" not in said.text
                else None
            ),
        )
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(own) else wrong.append(asked.url),
        )
        page.goto(base + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("place", ["documented", "named", "hostless", "root"])
def test_the_pages(places: Places, place: str, open_page: OpenPage) -> None:
    """From an upload to its boxes, its files, its trace, the figures, the report, the reference."""
    base: str = getattr(places, place)
    page = open_page(base, "/")
    page.locator("#photo input[type=file]").set_input_files(PHOTO)
    expect(page.locator("#result .ds-box").first).to_be_visible()
    trace = str(page.locator("#result .ds-result").get_attribute("data-trace"))
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert page.locator("#result img").evaluate(width) > 0
    with page.expect_download() as download:
        page.get_by_role("link", name="Image with boxes").click()
    assert download.value.path().read_bytes().startswith(b"\xff\xd8")
    page.goto(f"{base}/traces")
    row = page.locator(f'tr[data-trace="{trace}"]')
    expect(row).to_be_visible()
    row.locator("td").nth(2).click()
    expect(page.locator(".ds-detail")).to_contain_text("enqueue detections")
    page.get_by_role("link", name="Monitor").click()
    expect(page.locator(".ds-figures")).to_contain_text(re.compile(r"\d"))
    expect(page.locator(".ds-plot .main-svg").first).to_be_visible()
    assert page.url.startswith(f"{base}/monitor")
    page.get_by_role("link", name="Report").click()
    expect(page.frame_locator(".ds-report iframe").locator("h1")).to_be_visible()
    page.get_by_role("link", name="API", exact=True).click()
    page.locator("#operations-images-healthz_healthz_get").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    shown = page.locator("#operations-images-healthz_healthz_get .live-responses-table")
    expect(shown).to_contain_text('"status": "ok"')


def test_every_page_in_chinese(places: Places, open_page: OpenPage) -> None:
    """No page in the other language asks another host for anything either, or breaks its policy."""
    for path in ("/", "/monitor", "/traces", "/report", "/model"):
        page = open_page(places.documented, path, locale="zh-CN")
        expect(page.get_by_role("link", name="监控").first).to_be_visible()
        expect(page.locator(".ds-state").first).to_have_attribute("data-ready", "true")


def test_a_page_under_another_name(places: Places, open_page: OpenPage) -> None:
    """Opened past the proxy, a page works where it is: it asks nobody else."""
    page = open_page(f"http://localhost:{places.service.port}/a/b", "/")
    page.locator("#photo input[type=file]").set_input_files(PHOTO)
    expect(page.locator("#result .ds-box").first).to_be_visible()


def ask(base: str, method: str, path: str, **options: Any) -> httpx.Response:
    """One request of a program."""
    return httpx.request(
        method, f"{base}{path}", verify=False, trust_env=False, timeout=60, **options
    )


def image(**fields: str) -> dict[str, Any]:
    """An image to send."""
    return {"content": PHOTO.read_bytes(), "headers": {"content-type": "image/jpeg"} | fields}


def test_addresses_in_answers(places: Places) -> None:
    """`Location`, redirects and OpenAPI lead back through the proxy, under its path."""
    later = ask(places.documented, "POST", "/api/v1/detect", **image(prefer="respond-async"))
    location = later.headers["location"]
    assert location == f"/a/b/api/v1/jobs/{later.json()['job_id']}"
    origin = places.documented.removesuffix("/a/b")
    assert ask(origin, "GET", location).status_code == 200
    for base in (places.documented, places.named, places.hostless):
        redirect = ask(base, "GET", "/docs/")
        assert redirect.headers["location"] == f"{places.documented}/docs"
        assert ask(base, "GET", "/openapi.json").json()["servers"] == [{"url": "/a/b"}]
    assert ask(places.root, "GET", "/docs/").headers["location"] == f"{places.root}/docs"
    report = ask(places.hostless, "GET", "/api/v1/report?format=md").text
    assert "nobody" not in report
    cookies = ask(places.named, "GET", "/").headers.get_list("set-cookie")
    assert cookies
    for cookie in cookies:
        assert "path=/a/b;" in cookie.lower()
        assert cookie.lower().endswith("; secure") or "; secure;" in cookie.lower()


def client_of(places: Places, answer: httpx.Response) -> str:
    """As whom a detection's trace knows its client."""
    spans = places.service.spans(answer.headers["x-trace-id"], 1)

    def look() -> list[str]:
        with places.service.client() as client:
            spans = client.get(f"/api/v1/traces/{answer.headers['x-trace-id']}").json()
        return [
            str(span["attributes"]["client.address"])
            for span in spans
            if "client.address" in span["attributes"]
        ]

    assert spans
    return eventually(look, "the SERVER span")[0]


def test_clients_are_told_apart(places: Places) -> None:
    """By what the proxy says, whatever they claim; past the proxy, nobody's claim counts but one
    of a trusted address."""
    claims = {
        "x-forwarded-for": "203.0.113.9",
        "x-real-ip": "203.0.113.9",
        "forwarded": "for=203.0.113.9",
    }
    transport = httpx.HTTPTransport(local_address="127.0.0.2", verify=False)
    with httpx.Client(transport=transport, timeout=60) as other:
        through = other.post(f"{places.documented}/api/v1/detect", **image(**claims))
        past = other.post(f"{places.service.url}/api/v1/detect", **image(**claims))
    assert client_of(places, through) == "127.0.0.2"
    assert client_of(places, past) == "127.0.0.2"
    # The proxy appends whom it sees: a chain of which the last is trusted.
    mine = ask(places.documented, "POST", "/api/v1/detect", **image(**claims))
    assert client_of(places, mine) == "203.0.113.9", "127.0.0.1 is a proxy here"


def test_other_names_and_origins_through_the_proxy(places: Places) -> None:
    """The proxy passes them on, and the service refuses them."""
    evil = ask(places.documented, "GET", "/api/v1/traces", headers={"host": "evil.example"})
    assert evil.status_code == 421
    for fields in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        for path in ("/api/v1/detect", "/gradio_api/upload", "/gradio_api/run/predict"):
            refused = ask(places.documented, "POST", path, content=b"1", headers=fields)
            assert refused.status_code == 403, path
            assert refused.json()["type"] == "urn:damoscope:forbidden"


def test_caddy(places: Places, tmp_path: Path) -> None:
    """Its documented configuration, of which the tests change the address and nothing else."""
    port = places.caddy_port
    site = replaced(
        documented("caddy"),
        ("exams.example", f"http://127.0.0.1:{port}"),
        ("/phones", "/a/b"),
        ("127.0.0.1:7860", f"127.0.0.1:{places.service.port}"),
    )
    with caddy(tmp_path / "caddy", site, port):
        base = f"http://127.0.0.1:{port}/a/b"
        assert ask(base, "GET", "").headers["location"] == "/a/b/"
        assert '"root":"/a/b"' in ask(base, "GET", "/").text
        answer = ask(base, "POST", "/api/v1/detect", **image())
        assert answer.json()["detections"]
        claims = image(**{"x-forwarded-for": "203.0.113.9"})
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=transport, timeout=60) as other:
            through = other.post(f"{base}/api/v1/detect", **claims)
        assert client_of(places, through) == "127.0.0.2", "Caddy believes nobody by itself"
