"""Images by their address through a whole service: by the API and by the page."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.integration.pictures import jpeg
from tests.paths import ROOT
from tests.servers import Service, eventually

DETECT = "/api/v1/detect"
IMAGE = (ROOT / "examples" / "desk.jpg").read_bytes()


class Camera(ThreadingHTTPServer):
    """A server that sends what its addresses say."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        #: Connections that were closed while nothing was sent.
        self.left = 0
        self.waiting = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/photo.jpg":
                self._send(200, IMAGE)
            case "/text.jpg":
                self._send(200, b"<html>log in first</html>")
            case "/metadata":
                self._send(302, b"", "http://169.254.169.254/latest/meta-data/")
            case "/elsewhere":
                self._send(302, b"", "http://127.0.0.1:1/")
            case "/broken":
                self._send(500, b"")
            case "/never":
                self.server.waiting += 1
                self.connection.settimeout(120)
                self.server.left += self.connection.recv(1) == b""
            case _:
                self._send(404, b"")

    def _send(self, status: int, body: bytes, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    with Camera() as running:
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def fetching(tmp_path_factory: pytest.TempPathFactory, camera: Camera) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("addresses") / "home"
    with Service(home, DAMOSCOPE_IMAGE_HOSTS=camera.url, DAMOSCOPE_PAGES="true") as running:
        yield running.wait_until_ready()


@pytest.fixture
def client(fetching: Service) -> Iterator[httpx.Client]:
    with fetching.client() as opened:
        yield opened


def test_an_address_is_as_good_as_its_image(
    fetching: Service, client: httpx.Client, camera: Camera
) -> None:
    """The same boxes; the fetch is in the upload's span, which names the host alone."""
    sent = client.post(DETECT, content=IMAGE, headers={"content-type": "image/jpeg"}).json()
    answer = client.post(DETECT, json={"url": f"{camera.url}/photo.jpg?token=secret"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["detections"], told["image"]) == (sent["detections"], sent["image"])
    assert told["detections"]
    spans = fetching.spans(told["trace_id"], 8)
    (upload,) = [span for span in spans if span["name"] == "upload"]
    assert upload["attributes"]["damoscope.image.host"] == "127.0.0.1"
    assert "secret" not in str(spans)


def test_without_waiting(client: httpx.Client, camera: Camera) -> None:
    """What `Prefer` says holds for an address, too."""
    body = {"url": f"{camera.url}/photo.jpg"}
    answer = client.post(DETECT, json=body, headers={"prefer": "respond-async"})
    assert answer.status_code == 202
    job = answer.headers["location"]
    eventually(lambda: client.get(job).json()["status"] == "finished", "the result")


@pytest.mark.parametrize(
    ("path", "status", "code", "said"),
    [
        ("/missing.jpg", 422, "invalid_parameter", "answers 404, and no image"),
        ("/text.jpg", 400, "invalid_image", "not a photograph"),
        ("/metadata", 422, "invalid_parameter", "leads to another address"),
        ("/elsewhere", 422, "invalid_parameter", "leads to another address"),
        ("/broken", 502, "fetch_failed", "answers 500, and no image"),
        ("/never", 504, "timeout", "1 s"),
    ],
)
def test_what_cannot_be_fetched(
    client: httpx.Client, camera: Camera, path: str, status: int, code: str, said: str
) -> None:
    """A problem document that says whose fault it is."""
    timeout_s = 1 if code == "timeout" else 60
    answer = client.post(DETECT, params={"timeout": timeout_s}, json={"url": camera.url + path})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:damoscope:{code}"), problem
    assert said in problem["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/", "http://127.0.0.1:1/", "http://localhost/", "file:///etc/passwd"],
)
def test_other_hosts(client: httpx.Client, url: str) -> None:
    answer = client.post(DETECT, json={"url": url})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("url:")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"url": 1}', b'{"url": "x", "y": 1}'])
def test_what_is_no_address(client: httpx.Client, body: bytes) -> None:
    """JSON of another kind is told what to send."""
    answer = client.post(DETECT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert '{"url": "https://host/image.jpg"}' in answer.json()["detail"]


def test_who_hangs_up_ends_the_fetch(fetching: Service, camera: Camera) -> None:
    """Nothing is fetched for nobody."""
    before = camera.waiting, camera.left
    body = f'{{"url": "{camera.url}/never"}}'
    with socket.create_connection(("127.0.0.1", fetching.port)) as connection:
        connection.sendall(
            f"POST {DETECT}?timeout=120 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        eventually(lambda: camera.waiting > before[0], "the fetch")
    eventually(lambda: camera.left > before[1], "the end of the fetch")


def test_by_the_page(client: httpx.Client, camera: Camera) -> None:
    """The page has a field for it, and keeps what was fetched as it keeps an upload: named after
    the file. What went wrong is an upload too, which says why when it is run."""
    assert "ds-address" in client.get("/").text
    answer = client.post("/pages/address", json={"url": f"{camera.url}/photo.jpg"})
    assert answer.status_code == 200, answer.text
    stored = answer.json()
    assert (stored["name"], stored["size"]) == ("photo.jpg", len(IMAGE))
    assert client.get(f"/gradio_api/file={stored['id']}").content == IMAGE
    failed = client.post("/pages/address", json={"url": f"{camera.url}/broken"}).json()
    assert client.get(f"/gradio_api/file={failed['id']}").status_code == 404


def test_it_is_off_unless_it_is_meant(service: Service) -> None:
    """Where the operator has named no host, an address is a body like any that is no image."""
    with service.client() as client:
        answer = client.post(DETECT, json={"url": "https://cam.example/photo.jpg"})
        assert answer.status_code == 415
        assert "this service fetches no images" in answer.json()["detail"]
        sent = client.post(DETECT, content=jpeg(64, 48), headers={"content-type": "image/jpeg"})
        assert sent.status_code == 200
