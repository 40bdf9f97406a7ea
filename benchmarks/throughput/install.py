"""The peers' environments: installed from the pinned requirements beside their apps."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions

from benchmarks.throughput.servers import CACHE, PEERS, Server

TIMEOUT_S = 1800


def install(server: Server, say: Callable[[str], None]) -> bool:
    """Make the environment unless it is there as its requirements say. Whether it is now."""
    requirements = PEERS / f"{server.name}.txt"
    folder = CACHE / server.name
    stamp = folder / ".installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    say(f"installing {server.named()} ...")
    python = folder / "bin" / "python"
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
              "--no-deps", "-r", str(requirements)])  # fmt: skip
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.stderr or error).strip().splitlines() or ["no reason given"]
        say(f"{server.named()} cannot be installed and is left out: {said[-1]}")
        return False
    stamp.write_text(wanted)
    return True


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)


def version(peer: str) -> str:
    """Installed version of a peer; empty when it is not installed."""
    for folder in (CACHE / peer).glob("lib/python*/site-packages"):
        for found in distributions(name=peer, path=[str(folder)]):
            return found.version
    return ""
