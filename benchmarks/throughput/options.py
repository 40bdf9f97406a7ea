"""What a run of the benchmark is asked to do, and what all of its sections share."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.throughput.process import ROOT
from benchmarks.throughput.servers import CACHE, Server

BUNDLED = ROOT / "models" / "damoyolo_ns_phone.onnx"
STOCK = CACHE / "stock-ns.onnx"
STOCK_GPU = CACHE / "stock-s-half.onnx"
TRAINING_PYTHON = ROOT / ".venv-training" / "bin" / "python"


@dataclass(frozen=True)
class Options:
    """The command line, read."""

    peers: tuple[Server, ...]
    seconds: float
    rounds: int
    images: int
    #: Inferences at a time: one a core.
    workers: int
    picture: Path
    stock: Path = STOCK
    bundled: Path = BUNDLED


class NoModel(Exception):
    """The stock model is not there and cannot be made here; the message says what to do."""


def make_stock(network: str, path: Path, *arguments: str) -> Path:
    """`path`, exported in the training environment when it is not there."""
    if not path.exists():
        if not TRAINING_PYTHON.exists():
            raise NoModel(
                f"{path.relative_to(ROOT)} is made in the training environment, which is not "
                "there: make training-env, then run this again"
            )
        print(f"making {path.relative_to(ROOT)} ...", flush=True)
        command = [str(TRAINING_PYTHON), "-W", "ignore", "-m", "benchmarks.throughput.stock_model"]
        made = subprocess.run(
            [*command, network, str(path), *arguments], cwd=ROOT, capture_output=True, text=True
        )
        if made.returncode:
            raise NoModel(f"{path.name} cannot be made:\n{made.stderr[-2000:]}")
    return path
