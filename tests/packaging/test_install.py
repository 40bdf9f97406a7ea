"""deploy/install.py and `make shell`: an environment from a lock, and a shell in it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

PROGRAM = [sys.executable, str(ROOT / "deploy" / "install.py")]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package of one empty module."""
    path = tmp_path / "nothing-1.0-py3-none-any.whl"
    info = "nothing-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nothing.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def lock(folder: Path, digest: str) -> Path:
    path = folder / "lock.txt"
    path.write_text(
        f"--no-index\n--find-links {folder}\nnothing==1.0 --hash=sha256:{digest}\n", "utf-8"
    )
    return path


def install(environment: Path, *locks: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program with one folder on PATH."""
    return subprocess.run(
        [*PROGRAM, str(environment), *map(str, locks)],
        capture_output=True, text=True, check=False, env={"PATH": path, "HOME": str(ROOT / "none")},
    )  # fmt: skip


def test_an_environment_is_made_and_filled(tmp_path: Path, wheel: Path) -> None:
    """It says what it does, counts what it installed, and what was locked can be imported."""
    good = lock(tmp_path, hashlib.sha256(wheel.read_bytes()).hexdigest())
    answer = install(tmp_path / "env", good)
    assert answer.returncode == 0, answer.stderr
    making, installing, done = answer.stdout.splitlines()
    assert making.startswith(f"Making {tmp_path}/env with Python 3.")
    assert installing == f"Installing what {good} name into {tmp_path}/env ..."
    assert done.strip().startswith("1 packages installed in ")
    python = tmp_path / "env" / "bin" / "python"
    assert subprocess.run([python, "-c", "import nothing"], check=False).returncode == 0


def test_another_hash_is_refused(tmp_path: Path, wheel: Path) -> None:
    """A package that is not the locked one is not installed; pip's reason is shown."""
    answer = install(tmp_path / "env", lock(tmp_path, "0" * 64))
    assert answer.returncode == 1
    assert "DO NOT MATCH THE HASHES" in answer.stderr
    assert not list((tmp_path / "env").glob("lib/*/site-packages/nothing.py"))


def test_uv_where_it_is_installed(tmp_path: Path, wheel: Path) -> None:
    """uv installs when it is on PATH; where it cannot, pip does."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    for code in (0, 1):
        uv.write_text(f'#!/bin/sh\necho "uv $*"\nexit {code}\n')
        uv.chmod(0o755)
        answer = install(tmp_path / f"env{code}", lock(tmp_path, digest), path=str(uv.parent))
        assert answer.returncode == 0, answer.stderr
        assert "uv pip install --python" in answer.stdout
        assert ("1 packages installed" in answer.stdout) is bool(code)


def test_make_shell(tmp_path: Path) -> None:
    """In the shell of `make shell` README's commands work as they are written."""
    environment = Path(sys.executable).parents[1]
    answer = subprocess.run(
        ["make", "--no-print-directory", "--old-file=install", "shell", f"VENV={environment}"],
        cwd=ROOT, input="damoscope --version\n", capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "damoscope 0." in answer.stdout
