"""The `damoscope` command line."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from run.cli import app
from tests.integration import pictures
from tests.servers import damoscope, run


def test_help_lists_every_command() -> None:
    """`damoscope --help` names the commands, each with what it does."""
    answer = CliRunner().invoke(app, ["--help"])
    assert answer.exit_code == 0
    for name in ("up", "frontend", "worker", "detect", "load"):
        assert f" {name} " in answer.output


@pytest.mark.parametrize("name", ["up", "frontend", "worker", "detect", "load"])
def test_help_of_each_command(name: str) -> None:
    """Every command explains itself and its options."""
    answer = CliRunner().invoke(app, [name, "--help"])
    assert answer.exit_code == 0
    assert "Usage" in answer.output


def test_no_command() -> None:
    """Without a command the help is shown."""
    assert "Usage" in CliRunner().invoke(app, []).output


def test_version() -> None:
    """`damoscope --version` says the version that is installed."""
    answer = CliRunner().invoke(app, ["--version"])
    assert answer.exit_code == 0
    assert answer.output == f"damoscope {version('damoscope')}\n"


@pytest.mark.parametrize(
    ("words", "completed"), [("wor", "worker"), ("worker --prov", "--provider")]
)
def test_completion_in_a_shell(tmp_path: Path, words: str, completed: str) -> None:
    """What `damoscope --install-completion` sets up completes commands and options."""
    line = f"damoscope {words}"
    answer = run(
        [str(Path(sys.executable).with_name("damoscope"))], tmp_path, COMP_WORDS=line,
        COMP_CWORD=str(len(line.split()) - 1), _DAMOSCOPE_COMPLETE="complete_bash",
    )  # fmt: skip
    assert answer.stdout.split() == [completed]


def test_detect_on_files(tmp_path: Path) -> None:
    """`damoscope detect` prints what it finds, one JSON a line, and draws it on a copy."""
    (tmp_path / "phone.jpg").write_bytes(pictures.phone(640, 480))
    (tmp_path / "plain.png").write_bytes(pictures.encoded(pictures.noise(80, 60), "PNG"))
    answer = damoscope(
        "detect", "phone.jpg", "plain.png", "--json", "--score-threshold", "0.01", "--save", "out",
        folder=tmp_path, DAMOSCOPE_PROVIDER="cpu",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    first, second = (json.loads(line) for line in answer.stdout.splitlines())
    assert [first["image"], second["image"]] == ["phone.jpg", "plain.png"]
    assert set(first["timings_ms"]) == {"preprocess", "inference", "nms"}
    scores = [found["score"] for found in first["detections"]]
    assert scores
    assert scores == sorted(scores, reverse=True)
    for found in first["detections"]:
        box = found["box"]
        assert 0 <= box["x1"] < box["x2"] <= 640
        assert 0 <= box["y1"] < box["y2"] <= 480
    with Image.open(tmp_path / "out" / "phone.jpg") as drawn:
        assert drawn.size == (640, 480)


def test_detect_on_a_bad_file(tmp_path: Path) -> None:
    """A file that is no image, or is not there, is named; the others are still done."""
    (tmp_path / "good.jpg").write_bytes(pictures.jpeg())
    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    answer = damoscope(
        "detect", "bad.jpg", "absent.jpg", "good.jpg", folder=tmp_path, DAMOSCOPE_PROVIDER="cpu"
    )
    assert answer.returncode == 1
    bad, absent = answer.stderr.splitlines()
    assert bad.startswith("bad.jpg: ")
    assert absent.startswith("absent.jpg: ")
    assert "good.jpg: " in answer.stdout
    assert "Traceback" not in answer.stderr


def test_detect_without_a_model(tmp_path: Path) -> None:
    """A missing model is one clear line and exit code 2."""
    answer = damoscope("detect", "a.jpg", "--model", "none.onnx", folder=tmp_path)
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert "none.onnx" in line


@pytest.mark.parametrize("command", ["frontend", "worker"])
def test_parts_need_a_redis(tmp_path: Path, command: str) -> None:
    """Alone, frontend and worker say that REDIS_URL is missing."""
    answer = damoscope(command, folder=tmp_path)
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert "REDIS_URL" in line


def test_a_name_in_the_file_that_is_no_setting(tmp_path: Path) -> None:
    """It ends the command with one line that says what was meant, and exit code 2."""
    (tmp_path / "damoscope.toml").write_text("batchmax = 3\n")
    answer = damoscope("alerts", "check", folder=tmp_path)
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert line.endswith("damoscope.toml: batchmax is not a setting; did you mean batch_max?")


def test_a_variable_that_is_no_setting(tmp_path: Path) -> None:
    """The command warns about it in one line, and does its work."""
    answer = damoscope("alerts", "check", folder=tmp_path, DAMOSCOPE_BATCHMAX="3")
    assert answer.returncode == 0
    (line,) = answer.stderr.splitlines()
    assert line.endswith("DAMOSCOPE_BATCHMAX is not a setting; did you mean DAMOSCOPE_BATCH_MAX?")
