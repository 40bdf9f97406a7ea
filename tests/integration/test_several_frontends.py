"""`damoscope up` with several frontends: one with pages, the others for the API alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration import pictures
from tests.servers import PATIENCE_S, Service, damoscope, eventually, left_running

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
EACH = 5


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two frontends, ready."""
    home = tmp_path_factory.mktemp("several") / "home"
    with Service(home, pages=True, DAMOSCOPE_FRONTENDS="2", DAMOSCOPE_WORKERS="1") as running:
        yield running.wait_until_ready()


def test_both_answer_and_are_counted_together(several: Service) -> None:
    """Each answers images; either one's figures are those of both."""
    second = f"http://127.0.0.1:{several.port + 1}"
    assert f"API    port {several.port + 1}, without pages" in several.output
    for address in (several.url, second):
        with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
            for _ in range(EACH):
                answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
                assert answer.status_code == 200, answer.text
                assert answer.headers["x-trace-id"] == answer.json()["trace_id"]
    for address in (several.url, second):
        with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:

            def all_counted(client: httpx.Client = client) -> bool:
                stats = client.get("/api/v1/stats").json()
                return sum(stats["requests"].values()) == 2 * EACH

            eventually(all_counted, f"the requests of both at {address}")


def test_only_the_first_has_pages(several: Service) -> None:
    """The second is for machines: no pages, but the API with its description."""
    assert (
        httpx.get(several.url, timeout=PATIENCE_S).headers["content-type"].startswith("text/html")
    )
    second = f"http://127.0.0.1:{several.port + 1}"
    answer = httpx.get(second, timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    assert DETECT in httpx.get(f"{second}/openapi.json", timeout=PATIENCE_S).json()["paths"]


def test_every_port_must_be_free(several: Service, tmp_path: Path) -> None:
    """A busy port of the second frontend is named, and nothing is left running."""
    answer = damoscope(
        "up", folder=tmp_path, DAMOSCOPE_HOME=str(tmp_path),
        DAMOSCOPE_PORT=str(several.port - 1), DAMOSCOPE_FRONTENDS="2",
    )  # fmt: skip
    if f"DAMOSCOPE_PORT={several.port - 1}:" in answer.stderr:
        pytest.skip("the port before is in use by something else")
    assert answer.returncode == 2
    assert f"DAMOSCOPE_PORT={several.port}: cannot listen" in answer.stderr
    assert left_running(tmp_path) == []


def test_a_port_beyond_the_last(tmp_path: Path) -> None:
    """There are no ports beyond 65535."""
    answer = damoscope(
        "up", folder=tmp_path, DAMOSCOPE_HOME=str(tmp_path), DAMOSCOPE_PORT="65535",
        DAMOSCOPE_FRONTENDS="2",
    )  # fmt: skip
    assert answer.returncode == 2
    assert "DAMOSCOPE_PORT=65536" in answer.stderr
