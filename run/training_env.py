"""Runs a part of the training, in the environment that it has to itself: PyTorch is not installed
beside the service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.errors import ConfigurationError, ModelError

ROOT = Path(__file__).resolve().parent.parent
#: Seconds that making the environment may take (it downloads gigabytes), and a conversion.
MAKE_S, CONVERT_S = 2 * 3600, 1800


def convert(checkpoint: Path, output: Path, input_size: tuple[int, int] | None) -> None:
    """Have a checkpoint converted to ONNX; what is found out is printed.

    Raises ModelError for a checkpoint that cannot be, and ConfigurationError where there is no
    environment to do it in and none can be made.
    """
    python = _python(checkpoint)
    words = [str(python), "-W", "ignore", "-m", "training.convert"]
    words += [str(checkpoint.resolve()), str(output)]
    if input_size is not None:
        words += ["--size", *map(str, input_size)]
    try:
        ran = subprocess.run(
            words, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=CONVERT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{checkpoint}: its conversion took longer than the {CONVERT_S} s allowed"
        ) from error
    if ran.returncode or not output.is_file():
        said = ran.stderr.strip().splitlines() or [f"its conversion ended with {ran.returncode}"]
        if ran.returncode != 2:  # nobody foresaw it: the traceback tells more than its last line
            print(ran.stderr, file=sys.stderr)
        raise ModelError(f"{checkpoint}: {said[-1]}")


def _python(checkpoint: Path) -> Path:
    """The environment's interpreter; the environment is made if need be."""
    if not (ROOT / "training" / "convert.py").is_file():
        raise ConfigurationError(
            f"{checkpoint} is a checkpoint, and only a checkout of damoscope converts those, in an "
            "environment with PyTorch: there, `make training-env`, then `.venv-training/bin/python "
            f"-m training.convert {checkpoint.name} {checkpoint.stem}.onnx`; then import the ONNX "
            "file here"
        )
    python = ROOT / ".venv-training" / "bin" / "python"
    if not python.exists():
        print("Converting a checkpoint takes PyTorch, which is installed first.", flush=True)
        try:
            made = subprocess.run(
                ["make", "training-env"], cwd=ROOT, timeout=MAKE_S, check=False
            ).returncode
        except FileNotFoundError as error:
            raise ConfigurationError("make is not installed: apt-get install make") from error
        except subprocess.TimeoutExpired as error:
            raise ConfigurationError(
                f"`make training-env` took longer than the {MAKE_S} s allowed"
            ) from error
        if made or not python.exists():
            raise ConfigurationError(
                "`make training-env` failed: what it said above tells why; run it again by itself"
            )
    return python
