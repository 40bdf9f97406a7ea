"""frontend.edge.public: the service under its public URL, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from frontend.api.detect import DETECT_PATH
from pipeline.errors import ConfigurationError
from pipeline.settings import load
from tests.frontend.application import Application, application

JPEG = {"content-type": "image/jpeg"}
PUBLIC = "https://exams.example/a/b"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    home = tmp_path_factory.mktemp("public")
    with application(home, pages=True, public_url=PUBLIC) as built:
        yield built


@pytest.mark.parametrize("prefix", ["", "/a/b"])
@pytest.mark.parametrize("host", ["exams.example", "backend", "127.0.0.1:7860", ""])
def test_every_kind_of_address(app: Application, prefix: str, host: str) -> None:
    """Whether a proxy strips the path off or not, and whatever it sends as `Host`."""
    for address in (
        "/", "/monitor", "/traces", "/report", "/model", "/docs", "/docs/assets/swagger-ui.css",
        "/openapi.json", "/healthz", "/theme.css", "/pages/status", "/pages/monitor/main.js",
    ):  # fmt: skip
        answer = app.ask("GET", prefix + address, headers={"host": host})
        assert answer.status_code == 200, address
        assert app.ask("HEAD", prefix + address).status_code == 200, address
    missing = app.ask("GET", f"{prefix}/nothing")
    assert (missing.status_code, missing.json()["status"]) == (404, 404)
    answer = app.ask("POST", prefix + DETECT_PATH, content=b"1", headers=JPEG | {"host": host})
    assert answer.status_code == 200


def test_pages_know_no_host(app: Application) -> None:
    """A page asks for more wherever it was opened: it holds no address with a host of its own."""
    for page in ("/", "/monitor", "/traces", "/report", "/model", "/docs"):
        text = app.ask("GET", f"/a/b{page}", headers={"host": "upstream-9"}).text
        assert "exams.example" not in text
        assert "upstream-9" not in text
    assert '"root":"/a/b"' in app.ask("GET", "/a/b/").text


def test_a_root_without_a_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Scripts take an empty root for the address of the page they are in."""
    home = tmp_path_factory.mktemp("root")
    with application(home, pages=True, public_url="http://exams.example") as built:
        text = built.ask("GET", "/traces").text
        assert '"root":"/"' in text
        assert "exams.example" not in text


def test_the_path_without_its_slash(app: Application) -> None:
    """It leads to the page, as addresses in pages are relative."""
    answer = app.ask("GET", "/a/b?x=1")
    assert (answer.status_code, answer.headers["location"]) == (308, "/a/b/?x=1")


def test_a_redirect_leads_to_the_public_url(app: Application) -> None:
    """What the router corrects stays under the path, whatever `Host` was sent."""
    answer = app.ask("GET", "/docs/", headers={"host": "backend", "x-forwarded-host": "evil"})
    assert answer.headers["location"] == f"{PUBLIC}/docs"


def test_openapi_names_the_path(app: Application) -> None:
    """So that what was made from it asks there, and `Try it out` does."""
    assert app.ask("GET", "/openapi.json").json()["servers"] == [{"url": "/a/b"}]


@pytest.mark.parametrize("path", ["/api", "/docs/x", "/monitor", "/gradio_api", "/healthz"])
def test_a_path_of_our_own(path: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It could not be told whether it was stripped off, so it is refused at the start."""
    home = tmp_path_factory.mktemp("public")
    with (
        pytest.raises(ConfigurationError, match="DAMOSCOPE_PUBLIC_URL"),
        application(home, pages=True, public_url=f"https://exams.example{path}"),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "taken"),
    [("HTTPS://Exams.Example:443/A/b/", "https://exams.example/A/b"),
     ("http://[::1]:8080/", "http://[::1]:8080"), ("http://10.0.0.1", "http://10.0.0.1")],
)  # fmt: skip
def test_urls_as_browsers_write_them(given: str, taken: str) -> None:
    """Without what goes without saying."""
    assert load(public_url=given).public_url == taken


@pytest.mark.parametrize(
    "url",
    ["exams.example", "ftp://exams.example", "https://", "https://u:p@exams.example", "https://a?b",
     "https://a#b", "https://a//b", "https://a/../b", "https://a/b c", "https://\u00e4.example",
     'https://a/"><script>', "javascript:alert(1)"],
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    """What cannot be a service's address is refused by the setting's name."""
    with pytest.raises(ConfigurationError, match="DAMOSCOPE_PUBLIC_URL="):
        load(public_url=url)
