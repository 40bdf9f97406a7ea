"""`damoscope load` as it is called."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.servers import Service, damoscope, environment, free_port

KEY = "a-key-that-nobody-may-see"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("load") / "home") as running:
        yield running.wait_until_ready()


def test_a_service_under_load(service: Service, tmp_path: Path) -> None:
    """Bundled images, each answered; both reports say so, the traces can be opened, and the key
    that was given is in neither of them."""
    answer = damoscope(
        "load", service.url, "--clients", "2", "--requests", "20", "--duration", "5m",
        "-o", "load.json", "-o", "load.html", folder=tmp_path, DAMOSCOPE_KEY=KEY,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    found = json.loads((tmp_path / "load.json").read_text())
    assert found["run"]["counts"]["ok"] == found["run"]["requests"] == 20
    page = (tmp_path / "load.html").read_text()
    slowest = found["run"]["slowest"][0]["trace_id"]
    assert f"{service.url}/traces?trace={slowest}" in page
    assert service.spans(slowest, 6)
    assert not any(KEY in text for text in (page, json.dumps(found), answer.stdout, answer.stderr))
    assert "Traceback" not in answer.stderr


def test_in_tiles(service: Service, tmp_path: Path) -> None:
    """Each request asks for them; what are no tiles is said before anything is sent."""
    asked = ("load", service.url, "--clients", "1", "--requests", "1", "--duration", "5m")
    answer = damoscope(
        *asked, "--tiles", "2x1", "-o", "load.json", folder=tmp_path, DAMOSCOPE_KEY=KEY
    )
    assert answer.returncode == 0, answer.stderr
    run = json.loads((tmp_path / "load.json").read_text())["run"]
    spans = service.spans(run["slowest"][0]["trace_id"], 8)
    assert {span["attributes"].get("damoscope.tiles") for span in spans} == {None, 2}
    wrong = damoscope(*asked, "--tiles", "2", folder=tmp_path)
    assert wrong.returncode != 0
    assert "tiles: '2' is neither auto nor columns and rows like 4x3" in wrong.stderr


def test_an_open_loop_with_images_of_ones_own(service: Service, tmp_path: Path) -> None:
    """A folder's images, evenly spaced; what is refused is told by its code."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((ROOT / "examples" / "hand.jpg").read_bytes())
    (folder / "b.png").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("not sent")
    answer = damoscope(
        "load", service.url, "--rate", "5", "--arrivals", "constant", "--duration", "2s",
        "--images", str(folder), "-o", "load.json", folder=tmp_path,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    run = json.loads((tmp_path / "load.json").read_text())["run"]
    assert run["requests"] == 9
    assert {row["outcome"] for row in run["outcomes"]} == {"200", "400 invalid_image"}
    assert run["counts"]["ok"] == 5


def test_ctrl_c_reports_what_was_run(service: Service, tmp_path: Path) -> None:
    """It stops sending, waits for what is under way, and says that it was interrupted."""
    with subprocess.Popen(
        [sys.executable, "-m", "run", "load", service.url, "--rate", "5", "--duration", "1h",
         "-o", str(tmp_path / "load.json")],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr
        assert "under way" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=180)
    assert process.returncode == 0, error
    assert "interrupted" in out
    assert json.loads((tmp_path / "load.json").read_text())["interrupted"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("http://user:pw@h",), "DAMOSCOPE_KEY"),
        (("h", "--rate", "5", "--clients", "2"), "one of them"),
        (("h", "--rate", "no"), "requests a second"),
        (("h", "--search", "p98=1s"), "p99"),
        (("h", "--arrivals", "none"), "poisson or constant"),
        (("h", "-o", "report.pdf"), ".html or .json"),
        (("h", "-o", "no/folder/report.html"), "no folder"),
        (("h", "--images", "absent.jpg"), "absent.jpg"),
        (("h", "--images", "."), "no image"),
        (("h", "--key", "two words\r\nx: y"), "key"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_sent(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """One line, exit code 2."""
    answer = damoscope("load", *arguments, folder=tmp_path)
    (line,) = answer.stderr.splitlines()
    assert answer.returncode == 2
    assert says in line


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    """One line, exit code 1, and no report."""
    answer = damoscope("load", f"http://127.0.0.1:{free_port()}", "-o", "r.json", folder=tmp_path)
    (line,) = answer.stderr.splitlines()
    assert answer.returncode == 1
    assert "Connection refused" in line
    assert not (tmp_path / "r.json").exists()


def test_a_service_that_wants_a_key(tmp_path: Path) -> None:
    """It is said how to give one; with it the load runs."""
    home = tmp_path / "home"
    made = damoscope(
        "keys", "add", "load", "--role", "detect", "--home", str(home), folder=tmp_path
    )
    key = made.stdout.splitlines()[2].strip()
    with Service(home) as running:
        running.wait_until_ready()
        answer = damoscope("load", running.url, folder=tmp_path)
        assert answer.returncode == 1
        assert "DAMOSCOPE_KEY" in answer.stderr
        answer = damoscope(
            "load", running.url, "--requests", "3", "--duration", "5m", folder=tmp_path,
            DAMOSCOPE_KEY=key,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        assert "3 requests in" in answer.stdout
