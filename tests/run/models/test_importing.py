"""run.models.importing: `damoscope model import`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.store import Store
from run.cli import app, main
from run.models.importing import _slug
from tests.worker import onnx_models
from tests.worker.onnx_models import SIZE, Export


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAMOSCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, and what was printed."""
    code = 0
    try:
        main(lambda: app(list(words), standalone_mode=False))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_import_and_use(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model is installed under the file's name, with its figures, and finds things by it."""
    file = Export(classes=2, batch=1, metadata={"names": "['phone', 'book']"}).save(
        tmp_path / "My Export_v2.onnx"
    )
    code, out, err = run("model", "import", str(file), "--licence", "Apache-2.0", capsys=capsys)
    assert code == 0, err
    assert "against the original on 4 pictures, alone and 3 at once: scores within " in out
    assert "Note: its batch axis was made free." in out
    assert f"my-export_v2 is installed: 2 classes (phone, book), {SIZE} x {SIZE}, version " in out
    installed = Store(home / "models").get("my-export_v2")
    assert installed
    installed.verify()
    assert installed.facts.labels == ("phone", "book")
    assert installed.facts.licence == "Apache-2.0"
    assert installed.facts.source == "My Export_v2.onnx"
    assert installed.facts.checked["batch axis"] == "free"
    parity = installed.facts.checked["parity"]
    assert isinstance(parity, dict)
    assert set(parity) == {"scores", "boxes_px", "pictures", "together"}
    code, out, err = run("model", "info", "my-export_v2", "--json", capsys=capsys)
    assert code == 0, err
    assert json.loads(out)["loads"] == "yes, on cpu"
    assert json.loads(out)["checked"]["parity"] == parity


def test_options(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, class names and size can be said; a name that is taken has to be replaced."""
    file = Export(height=None, width=None, runs_at=(64, 96)).save(tmp_path / "a.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("x\ny\nz\n")
    words = ("model", "import", str(file), "--name", "exam", "--labels", str(labels))
    code, _, err = run(*words, capsys=capsys)
    assert code == 2
    assert "its input height and width are free" in err
    assert run(*words, "--input-size", "64x96", capsys=capsys)[0] == 0
    installed = Store(home / "models").get("exam")
    assert installed
    assert installed.facts.labels == ("x", "y", "z")
    assert installed.facts.input_size == (64, 96)
    code, _, err = run(*words, "--input-size", "64x96", capsys=capsys)
    assert code == 1
    assert "a model exam is installed: choose another name with --name, or --replace it" in err
    assert run(*words, "--input-size", "64x96", "--replace", capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--input-size", "big"), 2, "write height x width in pixels"),
        (("--input-size", "0"), 2, "write height x width in pixels"),
        (("--name", "../other"), 1, "is no name for a model"),
        (("--name", "damoyolo-ns-phone"), 1, "is the name of a model that ships"),
        (("--labels", "nowhere.txt"), 2, "nowhere.txt: the class names"),
    ],
)
def test_what_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], code: int, why: str,
) -> None:  # fmt: skip
    """One line that says what to do; nothing is installed."""
    file = Export().save(tmp_path / "a.onnx")
    found, _, err = run("model", "import", str(file), *words, capsys=capsys)
    assert found == code
    assert why in err
    assert err.startswith("damoscope: ")
    assert err.count("\n") == 1
    assert Store(home / "models").names() == []


def test_a_wrong_model(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused with its name and why; what is there already stays."""
    good = Export().save(tmp_path / "a.onnx")
    assert run("model", "import", str(good), "--name", "a", capsys=capsys)[0] == 0
    bad = onnx_models.end_to_end(tmp_path / "b.onnx")
    code, _, err = run("model", "import", str(bad), "--name", "a", "--replace", capsys=capsys)
    assert code == 2
    assert "b.onnx: it has 4 outputs, not two" in err
    installed = Store(home / "models").get("a")
    assert installed
    installed.verify()


def test_what_is_no_file(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe that nobody writes to is not waited for; what is no file, or not there, is named."""
    os.mkfifo(tmp_path / "pipe.onnx")
    for path, why in (
        (tmp_path / "pipe.onnx", "no file, but a folder, pipe or device"),
        (tmp_path, "no file, but a folder, pipe or device"),
        (tmp_path / "nowhere.onnx", "no such model file"),
    ):
        code, _, err = run("model", "import", str(path), "--name", "a", capsys=capsys)
        assert code == 2
        assert f"{path}: {why}" in err


@pytest.mark.parametrize(
    ("stem", "name"),
    [("DAMO-YOLO_S", "damo-yolo_s"), ("手机 v2", "v2"), ("a" * 90, "a" * 64), ("-.x.-", "x")],
)
def test_names_of_files(stem: str, name: str) -> None:
    """What a model is called whose file is called so."""
    assert _slug(stem) == name


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of pictures in which the small model finds much."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(40):
        areas = np.random.default_rng(number).integers(60, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(areas).resize((SIZE, SIZE), 0).save(folder / f"{number:02}.png")
    return folder


def test_fewer_bits(
    home: Path, tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it costs is said, and kept; a model that is installed is taken by its name, with its
    labels, its thresholds and its licence."""
    file = Export(classes=2).save(tmp_path / "exam.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("phone\nbook\n")
    words = ("model", "import", str(file), "--labels", str(labels), "--licence", "MIT")
    assert run(*words, capsys=capsys)[0] == 0
    fewer = ("--precision", "int8", "--photographs", str(photographs))
    code, out, err = run("model", "import", "exam", *fewer, capsys=capsys)
    assert code == 0, err
    assert "40 photographs" in out
    assert "bytes in place of" in out
    assert "on 20 photographs it finds" in out
    assert "exam-int8 is installed: 2 classes (phone, book)" in out
    installed = Store(home / "models").get("exam-int8")
    assert installed
    assert installed.facts.labels == ("phone", "book")
    assert installed.facts.licence == "MIT"
    assert installed.facts.source.startswith("exam ")
    checked = installed.facts.checked["precision"]
    assert isinstance(checked, dict)
    assert (checked["to"], checked["calibrated_with"], checked["photographs"]) == ("int8", 20, 20)
    code, out, err = run("model", "info", "exam-int8", "--json", capsys=capsys)
    assert code == 0, err
    assert json.loads(out)["loads"] == "yes, on cpu"
    code, _, err = run("model", "import", str(file), *fewer, "--name", "exam-int8", capsys=capsys)
    assert code == 1
    assert "a model exam-int8 is installed" in err


def test_fewer_bits_that_cost_too_much(
    home: Path, tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused, unless that is wanted all the same."""
    for number in range(0, 40, 2):
        Image.new("RGB", (SIZE, SIZE), (3, 3, 3)).save(photographs / f"{number:02}.png")
    file = Export().save(tmp_path / "exam.onnx")
    words = ("model", "import", str(file), "--precision", "int8",
             "--photographs", str(photographs))  # fmt: skip
    code, _, err = run(*words, capsys=capsys)
    assert code == 2
    assert "others are bearable. --force installs it all the same" in err
    assert Store(home / "models").names() == []
    code, out, err = run(*words, "--force", capsys=capsys)
    assert code == 0, err
    assert "Note: it finds" in out
    assert Store(home / "models").names() == ["exam-int8"]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--precision", "int8"), 2, "--precision and --photographs go together"),
        (("--photographs", "."), 2, "--precision and --photographs go together"),
        (("--precision", "fp16", "--photographs", "nowhere"), 2, "nowhere: no such folder"),
    ],
)
def test_fewer_bits_need_photographs(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], code: int, why: str,
) -> None:  # fmt: skip
    """One line says so."""
    file = Export().save(tmp_path / "a.onnx")
    found, _, err = run("model", "import", str(file), *words, capsys=capsys)
    assert found == code
    assert why in err
    assert err.count("\n") == 1
