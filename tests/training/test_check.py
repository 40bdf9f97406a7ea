"""What needs PyTorch is checked by the training's own environment, where there is one."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.paths import ROOT

PYTHON = ROOT / ".venv-training" / "bin" / "python"


@pytest.mark.skipif(not PYTHON.exists(), reason="needs the training environment: make training-env")
def test_the_training_checks_itself() -> None:
    """The loss is libreyolo's, unsure boxes cost nothing, pixels are where boxes say."""
    ran = subprocess.run(
        [PYTHON, "-W", "ignore", "-m", "training.check"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
