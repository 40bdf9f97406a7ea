"""run.training_env: checkpoints are converted where PyTorch is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from models.store import Store
from pipeline.errors import ConfigurationError, ModelError
from run import training_env
from run.cli import app, main
from tests.paths import ROOT

PYTHON = ROOT / ".venv-training" / "bin" / "python"
needs_torch = pytest.mark.skipif(
    not PYTHON.exists(), reason="needs the training environment: make training-env"
)
#: A DAMO-YOLO-Ns as upstream saves it, of random weights, with an older head: one score more.
MAKE = """
import sys, torch
from libreyolo.models.damoyolo.nn import build_damoyolo
torch.manual_seed(1)
network = build_damoyolo(size="ns", num_classes=3).train()
with torch.no_grad():
    features = network.neck(network.backbone(torch.rand(2, 3, 128, 128) * 255))
torch.save({"model": network.state_dict(), "epoch": 3}, sys.argv[1])
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mine.pth"
    path.write_bytes(b"PK\x03\x04 whatever")
    return path


def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch, interpreter: str = "") -> None:
    """A checkout in `folder` whose training environment is a script."""
    monkeypatch.setattr(training_env, "ROOT", folder)
    (folder / "training").mkdir()
    (folder / "training" / "convert.py").touch()
    if interpreter:
        python = folder / ".venv-training" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{interpreter}\n")
        python.chmod(0o755)


def test_without_a_checkout(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed package says where a checkpoint can be converted, and how."""
    monkeypatch.setattr(training_env, "ROOT", tmp_path)
    with pytest.raises(ConfigurationError, match=r"make training-env.*convert mine.pth mine.onnx"):
        training_env.convert(checkpoint, tmp_path / "out.onnx", None)


def test_an_environment_that_cannot_be_made(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made when needed; when that fails it is said."""
    elsewhere(tmp_path, monkeypatch)
    (tmp_path / "Makefile").write_text("training-env:\n\t@echo trying; false\n")
    with pytest.raises(ConfigurationError, match="`make training-env` failed"):
        training_env.convert(checkpoint, tmp_path / "out.onnx", None)


def test_what_the_conversion_refuses(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason is the command's, with the file's name; what it is given is what was typed."""
    elsewhere(tmp_path, monkeypatch, 'echo "$@" > "$0.said"; echo "it is of no kind" >&2; exit 2')
    with pytest.raises(ModelError, match=r"mine\.pth: it is of no kind$"):
        training_env.convert(checkpoint, tmp_path / "out.onnx", (320, 416))
    said = (tmp_path / ".venv-training" / "bin" / "python.said").read_text().split()
    assert said[2:] == [
        "-m", "training.convert", str(checkpoint), str(tmp_path / "out.onnx"),
        "--size", "320", "416",
    ]  # fmt: skip


@needs_torch
def test_a_checkpoint_becomes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As upstream writes it, with one score more than it has classes; found out, converted,
    compared with PyTorch, checked, and installed."""
    monkeypatch.setenv("DAMOSCOPE_HOME", str(tmp_path / "home"))
    path, labels = tmp_path / "Mine.pth", tmp_path / "labels.txt"
    labels.write_text("phone\nbook\n")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [PYTHON, "-W", "ignore", "-c", MAKE, path], env=environment, timeout=300, check=True
    )
    words = ["model", "import", str(path), "--labels", str(labels), "--input-size", "128"]
    main(lambda: app(words, standalone_mode=False))
    said = capfd.readouterr().out
    assert "DAMO-YOLO-Ns, 3 scores, 128 x 128" in said
    assert "ONNX Runtime against PyTorch on 4 photographs: scores within" in said
    assert "the last is ignored" in said
    installed = Store(tmp_path / "home" / "models").get("mine")
    assert installed
    assert installed.facts.labels == ("phone", "book")
    assert installed.facts.source == "Mine.pth"
