"""deploy/audit.py: what it makes of answers, and that no answer is no pass."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.paths import ROOT


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "deploy" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module
    spec.loader.exec_module(module)
    return module


audit = load()
LOCK = ROOT / "requirements" / "build.txt"


def answering(folder: Path, said: str, code: int = 0) -> list[str]:
    """A program in pip-audit's place that prints this, and ends so."""
    script = folder / "pip_audit.py"
    script.write_text(f"import sys\nprint({said!r})\nsys.exit({code})\n")
    return [sys.executable, str(script)]


def entry(**given: Any) -> dict[str, Any]:
    return {"name": "setuptools", "version": "1.0", "vulns": []} | given


def test_nothing_known(tmp_path: Path) -> None:
    """The only pass: every package was asked about, and nothing is known against it."""
    found = audit.vulnerabilities(
        LOCK, answering(tmp_path, json.dumps({"dependencies": [entry()]}))
    )
    assert (found.found, found.unknown, found.exit_code) == ([], [], 0)


def test_a_hole(tmp_path: Path) -> None:
    """Is named with the version that mends it; exit code 1."""
    hole = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": []}
    said = json.dumps({"dependencies": [entry(vulns=[hole])]})
    found = audit.vulnerabilities(LOCK, answering(tmp_path, said, 1))
    assert found.found == ["build.txt: setuptools 1.0: PYSEC-1, mended by 2.0"]
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", 1),
        ("Traceback: no route to host", 1),
        ("{}", 0),
        (json.dumps({"dependencies": []}), 0),
        (json.dumps({"dependencies": [{"name": "setuptools", "skip_reason": "not found"}]}), 0),
        (json.dumps({"dependencies": [entry(name="other")]}), 0),
    ],
)
def test_what_could_not_be_asked(tmp_path: Path, said: str, code: int) -> None:
    """No network, a package that the service does not know, an answer to something else."""
    found = audit.vulnerabilities(LOCK, answering(tmp_path, said, code))
    assert found.unknown
    assert found.exit_code == 2


def test_tools_that_are_not_there(tmp_path: Path) -> None:
    """It says how they get there."""
    found = audit.vulnerabilities(LOCK, [str(tmp_path / "none")])
    assert found.unknown == [f"{tmp_path / 'none'} is not there; `make audit` installs it"]
    assert audit.bill(LOCK, tmp_path / "x.json", tmp_path / "none").exit_code == 2


@pytest.mark.parametrize(
    ("licence", "may"),
    [
        ("MIT", True), ("Apache-2.0 OR BSD-2-Clause", True), ("GPL-3.0-only", False),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True), ("MIT AND GPL-2.0-only", False),
        ("GPL-2.0-only OR MIT", True), ("BSD License", True), ("Apache Software License", True),
        ("Proprietary", False), ("AGPL-3.0-or-later", False), ("", False),
    ],
)  # fmt: skip
def test_licences(licence: str, may: bool) -> None:
    """Of alternatives one must be allowed, of parts all."""
    assert audit.allowed(licence) is may


def test_what_is_locked_is_allowed() -> None:
    """Every package of the locks that is installed here."""
    packages = {
        name
        for part in audit.LOCKS
        for name, _ in audit.names(ROOT / "requirements" / f"{part}.txt")
    }
    found = audit.licences(sorted(packages))
    assert found.found == []
    assert found.unknown == []


def test_a_package_without_a_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one whose licence is none of those: both are named."""
    for name, line in {"nameless": "", "strict": "License-Expression: GPL-3.0-only\n"}.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{line}"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = audit.licences(["nameless", "strict", "not-installed-anywhere"])
    assert found.unknown == ["nameless: its metadata name no licence"]
    assert found.found == ["strict: GPL-3.0-only is not among those allowed"]
