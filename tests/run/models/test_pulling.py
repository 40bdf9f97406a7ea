"""run.models.pulling: `damoscope model pull`, from a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import catalogue as catalogue_module
from models.download import git_blob_of
from models.store import Store
from tests.models import file_server
from tests.models.file_server import FileServer
from tests.run.models.test_command import command, install
from tests.worker.onnx_models import SIZE, Export

ENTRY = """
[[models]]
name = "{name}"
about = {{ en = "A model for tests", zh = "测试用模型" }}
address = "https://models.example/owner/{name}.onnx"
git_blob = "{blob}"
licence = "Apache-2.0"
classes = ["cup", "phone", "person"]
input_size = [{size}, {size}]
score_threshold = 0.31
iou_threshold = 0.62
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder, and a catalogue of three models: one good, two that a worker could not run."""
    monkeypatch.setenv("DAMOSCOPE_HOME", str(tmp_path / "var"))
    monkeypatch.delenv("REDIS_URL", raising=False)
    exports = {
        "good": Export(), "logits": Export(sigmoids=0), "wrong-classes": Export(classes=5),
    }  # fmt: skip
    entries = []
    for name, export in exports.items():
        blob = git_blob_of(export.save(tmp_path / f"{name}.onnx"))
        entries.append(ENTRY.format(name=name, blob=blob, size=SIZE))
    (tmp_path / "catalogue.toml").write_text("\n".join(entries))
    monkeypatch.setattr(catalogue_module, "FILE", tmp_path / "catalogue.toml")
    catalogue_module.catalogue.cache_clear()
    yield tmp_path / "var"
    catalogue_module.catalogue.cache_clear()


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves the good model, as the mirror of the settings."""
    with FileServer((home.parent / "good.onnx").read_bytes()) as running:
        monkeypatch.setenv("DAMOSCOPE_MODEL_MIRROR", f"{running.url}/mirror/")
        yield running


def names(home: Path) -> list[str]:
    """All that lies in the store, but its lock."""
    return sorted(each.name for each in (home / "models").iterdir() if each.name != ".lock")


def test_pull(home: Path, server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A model is fetched from the mirror, installed with what the catalogue says of it, and runs;
    a second time nothing is fetched."""
    code, out, err = command("pull", "good", capsys=capsys)
    assert code == 0
    assert out.startswith("good is installed (version ")
    assert "bytes" in err  # its progress
    assert server.paths == ["/mirror/owner/good.onnx"]
    installed = Store(home / "models").get("good")
    assert installed is not None
    facts = installed.facts
    assert facts.checked["git_blob"] == git_blob_of(home.parent / "good.onnx")
    assert facts.labels == ("cup", "phone", "person")
    assert (facts.score_threshold, facts.iou_threshold) == (0.31, 0.62)
    assert facts.input_size == (SIZE, SIZE)
    assert facts.source == "https://models.example/owner/good.onnx"
    assert names(home) == ["good"]
    _, out, _ = command("info", "good", "--json", capsys=capsys)
    assert json.loads(out)["labels"] == ["cup", "phone", "person"]
    assert command("pull", "good", capsys=capsys)[0] == 0
    assert len(server.paths) == 1


def test_pull_of_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--from installs a file that was had otherwise, if it is the one that is meant."""
    folder = home.parent
    code, _, err = command("pull", "good", "--from", str(folder / "logits.onnx"), capsys=capsys)
    assert code == 1
    assert "is not the file that is meant" in err
    assert command("pull", "good", "--from", str(folder / "good.onnx"), capsys=capsys)[0] == 0
    assert (folder / "good.onnx").exists()
    assert names(home) == ["good"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("other", "the catalogue has no model other, but good, logits, wrong-classes"),
        ("../good", "is no name for a model"),
    ],
)
def test_names_that_are_none(
    home: Path, name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the catalogue does not have is said, with what it has."""
    code, _, err = command("pull", name, capsys=capsys)
    assert code == 1
    assert says in err


@pytest.mark.parametrize(
    ("name", "says"),
    [("logits", "sigmoid"), ("wrong-classes", "scores 5 classes, but 3 labels are given")],
)
def test_what_a_worker_could_not_run(
    home: Path, name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is not installed, though its bytes are those that are meant."""
    code, _, err = command("pull", name, "--from", str(home.parent / f"{name}.onnx"), capsys=capsys)
    assert code != 0
    assert says in err
    assert not (home / "models").exists()


def test_another_model_of_that_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of the user's own under a name of the catalogue is not written over."""
    install(home, "good", classes=3)
    before = Store(home / "models").get("good")
    code, _, err = command("pull", "good", capsys=capsys)
    assert code == 1
    assert "another model is installed as good" in err
    assert Store(home / "models").get("good") == before


def test_a_server_that_has_it_not(
    home: Path, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and exit code 1."""
    server.behave = file_server.status(404)
    code, out, err = command("pull", "good", capsys=capsys)
    assert (code, out) == (1, "")
    assert "the server answers 404 Not Found" in err
    assert len(err.splitlines()) == 1


def test_what_ships_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the catalogue that ships; and a mirror that is no address is refused."""
    code, _, err = command("pull", "damoyolo-ns-phone", capsys=capsys)
    assert code == 1
    assert "there is nothing to fetch" in err
    monkeypatch.setenv("DAMOSCOPE_MODEL_MIRROR", "ftp://a")
    code, _, err = command("pull", "damoyolo-s", capsys=capsys)
    assert code == 2
    assert err.startswith("damoscope: DAMOSCOPE_MODEL_MIRROR=ftp://a: write http:// or https://")
