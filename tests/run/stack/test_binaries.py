"""Where the servers' programs come from: PATH, what was built before, their Go modules."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from run.stack import pins, sources
from run.stack.binaries import BINARIES, CACHE, Binary, find

PIN = pins.read()["prometheus"]
MAJOR, MINOR, PATCH = map(int, PIN.version.split("."))


@pytest.fixture
def prometheus() -> Binary:
    """The program that is to be as pinned."""
    (found,) = (each for each in BINARIES if each.name == "prometheus")
    return found


def program(folder: Path, version: str) -> Path:
    """One that says that it is of this version, as Prometheus does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "prometheus"
    path.write_text(
        f'#!/bin/sh\necho "prometheus, version {version} (branch: , revision: unknown)"\n'
    )
    path.chmod(0o755)
    return path


def test_one_on_path_is_taken_if_it_is_not_older(
    tmp_path: Path, prometheus: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its minor release; an older one is taken where no other is to be had."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/sbin:/bin")
    path = program(tmp_path / "bin", f"{MAJOR}.{MINOR - 1}.9")
    assert find(prometheus, tmp_path) is None
    assert find(prometheus, tmp_path, old=True) == path
    for version in (f"{MAJOR}.{MINOR}.0", f"{MAJOR}.{MINOR + 1}.0", f"{MAJOR + 1}.0.0"):
        program(tmp_path / "bin", version)
        assert find(prometheus, tmp_path) == path


def test_what_was_built_is_taken_if_it_is_what_is_pinned(
    tmp_path: Path, prometheus: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout that pins another version builds it anew, whatever an earlier one built."""
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    path = program(tmp_path / CACHE / "bin", f"{MAJOR}.{MINOR}.{PATCH + 1}")
    assert find(prometheus, tmp_path) is None
    assert find(prometheus, tmp_path, old=True) is None
    program(path.parent, PIN.version)
    assert find(prometheus, tmp_path) == path


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module proxy of files with one module, which is pinned; its sum, by Go's own rule."""
    name, version, content = "example.test/thing", "v1.0.0", b"module example.test/thing\n"
    files = tmp_path / "proxy" / name / "@v"
    files.mkdir(parents=True)
    (files / f"{version}.info").write_text(json.dumps({"Version": version}))
    (files / f"{version}.mod").write_bytes(content)
    with zipfile.ZipFile(files / f"{version}.zip", "w") as packed:
        packed.writestr(f"{name}@{version}/go.mod", content)
    monkeypatch.setenv("GOPROXY", f"file://{tmp_path / 'proxy'}")
    monkeypatch.setenv("GONOSUMDB", "example.test")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("GOFLAGS", "-modcacherw")
    listed = f"{hashlib.sha256(content).hexdigest()}  {name}@{version}/go.mod\n".encode()
    total = "h1:" + base64.b64encode(hashlib.sha256(listed).digest()).decode()
    pin = replace(PIN, module=f"{name}@{version}", sum=total)
    monkeypatch.setattr(pins, "read", lambda: {"thing": pin})
    return total


@pytest.mark.stack  # needs Go
def test_sources_are_those_of_the_sum(
    tmp_path: Path, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written anew, so that a change to them does not stay; others are refused."""
    target = tmp_path / "src" / "thing"
    target.parent.mkdir()
    for _ in range(2):
        sources.module("thing", target)
        assert [path.name for path in target.iterdir()] == ["go.mod"]
        (target / "another").write_text("")
    other = replace(pins.read()["thing"], sum=proxy.replace("h1:", "h1:x"))
    monkeypatch.setattr(pins, "read", lambda: {"thing": other})
    with pytest.raises(ConfigurationError, match="has the sum h1:"):
        sources.module("thing", target)
    absent = replace(other, module="example.test/absent@v1.0.0")
    monkeypatch.setattr(pins, "read", lambda: {"thing": absent})
    with pytest.raises(ConfigurationError, match="cannot be downloaded"):
        sources.module("thing", target)
