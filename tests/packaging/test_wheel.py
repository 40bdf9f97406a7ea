"""The wheel: built, installed as pipx or uv would, and run in an empty folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.paths import ROOT
from tests.servers import PATIENCE_S, Process, eventually, free_port, left_running, run

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1200)]

#: The Python to install it under.
PYTHON = os.environ.get("WHEEL_PYTHON", sys.executable)
PACKAGES = (
    "pipeline", "telemetry", "monitoring", "frontend", "worker", "run", "models", "examples",
)  # fmt: skip
FILES = (
    "pipeline/queue/scripts/take.lua", "monitoring/alerts/alerts.yaml",
    "monitoring/reports/report.html", "frontend/pages/style.css", "frontend/pages/traces.js",
    "frontend/pages/monitor/static/main.js", "models/damoyolo_ns_phone.onnx", "examples/desk.jpg",
)  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of what git would commit now."""
    folder = tmp_path_factory.mktemp("wheel")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    answer = run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(folder), "."],
        folder / "source", PYTHONPATH="",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    (found,) = folder.glob("*.whl")
    return found


@dataclass(frozen=True)
class Installed:
    """An environment of its own with the wheel, an empty folder to work in, a user's home."""

    environment: Path
    folder: Path
    home: Path

    @property
    def damoscope(self) -> str:
        return str(self.environment / "bin" / "damoscope")

    @property
    def variables(self) -> dict[str, str]:
        """No checkout and no setting of this one; the platform's folders are below `home`."""
        unset = dict.fromkeys(("PYTHONPATH", "DAMOSCOPE_HOME", "XDG_DATA_HOME"), "")
        return unset | {"HOME": str(self.home), "DAMOSCOPE_WORKERS": "1"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """What is locked by its hashes, then the wheel alone."""
    folder = tmp_path_factory.mktemp("installed")
    install = [PYTHON, str(ROOT / "deploy" / "install.py"), str(folder / "environment")]
    subprocess.run([*install, str(ROOT / "requirements" / "cpu.txt")], check=True)
    pip = [str(folder / "environment" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    subprocess.run([*pip[:-2], "check"], check=True)
    for name in ("empty", "home"):
        (folder / name).mkdir()
    yield Installed(folder / "environment", folder / "empty", folder / "home")
    shutil.rmtree(folder)


def test_everything_is_inside(wheel: Path) -> None:
    """Model, rules, examples, pages and scripts; types; nothing that only a checkout can use."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {*FILES, *(f"{package}/py.typed" for package in PACKAGES)} <= names
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    assert not [name for name in names if name.startswith(("run/stack", "run/generate"))]
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_service_runs_in_an_empty_folder(installed: Installed) -> None:
    """`damoscope up` detects an image and shows its trace, with its data in the user's folder."""
    port = free_port()
    given = installed.variables | {"DAMOSCOPE_PORT": str(port)}
    photo = next(installed.environment.glob("lib/*/site-packages/examples/desk.jpg"))
    url = f"http://127.0.0.1:{port}"
    with Process([installed.damoscope, "up"], installed.folder, given) as service:
        service.wait_for("damoscope: ready after")
        data = installed.home / ".local" / "share" / "damoscope"
        assert str(data) in service.output
        with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
            answer = client.post(
                "/api/v1/detect", content=photo.read_bytes(), headers={"content-type": "image/jpeg"}
            )
            assert answer.status_code == 200, answer.text
            assert [found["label"] for found in answer.json()["detections"]]
            place = f"/api/v1/traces/{answer.headers['x-trace-id']}"
            spans = eventually(lambda: _spans(client, place), "the image's trace")
            assert {"upload", "queue_wait", "preprocess", "inference", "nms"} <= spans
            assert "gradio" in client.get("/").text
            assert client.get("/api/v1/alerts").json()["alerts"]
        service.send(signal.SIGTERM)
        assert service.wait() == 0, service.output
    assert "Traceback" not in service.output
    assert (data / "redis").is_dir()
    assert left_running(installed.folder) == []
    assert [path.name for path in installed.folder.iterdir()] == ["output.log"]


def _spans(client: httpx.Client, place: str) -> set[str]:
    answer = client.get(place)
    names = {span["name"] for span in answer.json()} if answer.status_code == 200 else set()
    return names if "nms" in names and "upload" in names else set()


def test_the_other_commands(installed: Installed) -> None:
    """Version, rules and detection on files, without a checkout."""
    photo = next(installed.environment.glob("lib/*/site-packages/examples/hand.jpg"))
    for arguments, says in (
        (["--version"], "damoscope 0."),
        (["alerts", "check"], "alerts.yaml: "),
        (["detect", str(photo)], "phone"),
    ):
        answer = run([installed.damoscope, *arguments], installed.folder, **installed.variables)
        assert answer.returncode == 0, answer.stderr
        assert says in answer.stdout
