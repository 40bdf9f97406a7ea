"""The Compose files, read by compose-go, the library that `docker compose` reads them with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pipeline.settings import Settings, variable
from tests.paths import ROOT

pytestmark = pytest.mark.stack

SOURCE: Final = ROOT / "tests" / "fullstack" / "composego"
BASE: Final = "docker-compose.yml"
BESIDE, GPUS = "deploy/compose.beside.yaml", "deploy/compose.gpus.yaml"
#: As docs/full-stack.md says to give them, and both at once.
COMBINATIONS: Final = ([BASE], [BASE, BESIDE], [BASE, GPUS], [BASE, GPUS, BESIDE])
SETTING: Final = {"REDIS_PASSWORD": "secret"}
#: The processes that read damoscope's settings -> those of its services that are such.
OURS: Final = {"frontend": "frontend", "watcher": "watcher", "worker": "worker",
               "worker-damoyolo-s": "worker", "worker-gpu": "worker",
               "worker-gpu-1": "worker"}  # fmt: skip


class Loader(yaml.SafeLoader):
    """YAML with Compose's own tag."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node, deep=True))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What loads Compose files, built by Go, which checks all modules by go.sum."""
    built = tmp_path_factory.mktemp("composego") / "composego"
    subprocess.run(
        ["go", "build", "-mod=readonly", "-trimpath", "-o", str(built), "."], cwd=SOURCE, check=True
    )
    return built


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files alone, beside no `.env` of the checkout's."""
    (tmp_path / "deploy").mkdir()
    for path in (BASE, BESIDE, GPUS):
        shutil.copyfile(ROOT / path, tmp_path / path)
    return tmp_path


def run(program: Path, folder: Path, *files: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Load the files with what `.env` gives and nothing else."""
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    return subprocess.run(
        [str(program), *files], cwd=folder, env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def load(program: Path, folder: Path, *files: str, **given: str) -> dict[str, Any]:
    """The services that come of it, those of all profiles."""
    done = run(program, folder, *files, **SETTING | given)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a warning"
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_all_overlays_are_tried() -> None:
    """Each file that goes over docker-compose.yml."""
    there = {f"deploy/{each.name}" for each in (ROOT / "deploy").glob("compose*.yaml")}
    assert there == {BESIDE, GPUS}
    readme = (ROOT / "docs" / "full-stack.md").read_text(encoding="utf-8")
    assert all(each in readme for each in there)


@pytest.mark.parametrize("files", COMBINATIONS, ids="+".join)
def test_it_loads(files: list[str], program: Path, folder: Path) -> None:
    """Every field is known, every name leads somewhere, and no service is without limits of memory
    and processes, or writes logs without end."""
    services = load(program, folder, *files)
    named = set().union(
        *(yaml.load((ROOT / each).read_text(), Loader)["services"] for each in files)
    )
    assert set(services) == named
    for name, service in services.items():
        assert int(service["mem_limit"]) > 0, name
        assert 0 < service["pids_limit"] <= 512, name
        assert service["logging"] == {
            "driver": "json-file", "options": {"max-size": "10m", "max-file": "3"},
        }, name  # fmt: skip
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name


def test_settings_of_env_reach_who_reads_them(program: Path, folder: Path) -> None:
    """By the names in `.env`, in services of overlays too, and none where it names none."""
    services = load(
        program, folder, BASE, GPUS, BESIDE, DAMOSCOPE_LOG_LEVEL="debug",
        DAMOSCOPE_BATCH_MAX="3", DAMOSCOPE_RATE_LIMIT="7", OTEL_TRACES_SAMPLER_ARG="0.5",
    )  # fmt: skip
    for name, process in OURS.items():
        found = services[name]["environment"]
        read = {variable(each) for each in Settings.read_by(process)}  # type: ignore[arg-type]
        assert found["DAMOSCOPE_LOG_LEVEL"] == "debug", name
        assert found["OTEL_TRACES_SAMPLER_ARG"] == "0.5", name
        for setting, value in (("DAMOSCOPE_BATCH_MAX", "3"), ("DAMOSCOPE_RATE_LIMIT", "7")):
            assert found.get(setting) == (value if setting in read else None), (name, setting)
        assert found.get("DAMOSCOPE_LOG_FORMAT") is None
    assert services["worker-damoyolo-s"]["environment"]["DAMOSCOPE_SERVES"] == "damoyolo-s"


def test_each_gpu_worker_has_a_gpu_of_its_own(program: Path, folder: Path) -> None:
    """The overlay's takes the place of that which it extends, and is not added to it."""
    services = load(program, folder, BASE, GPUS, GPU_DEVICE="GPU-a")
    devices = {
        name: [device["device_ids"] for device in
               services[name]["deploy"]["resources"]["reservations"]["devices"]]
        for name in ("worker-gpu", "worker-gpu-1")
    }  # fmt: skip
    assert devices == {"worker-gpu": [["GPU-a"]], "worker-gpu-1": [["1"]]}


def test_a_password_is_required(program: Path, folder: Path) -> None:
    """And its absence is named."""
    done = run(program, folder, BASE)
    assert done.returncode == 1
    assert "REDIS_PASSWORD" in done.stderr


def test_an_unknown_field_is_refused(program: Path, folder: Path) -> None:
    """So that what is tested here is strict."""
    text = (folder / BASE).read_text()
    (folder / BASE).write_text(text.replace("    read_only:", "    readonly:").replace(
        "\nservices:\n", "\nservices:\n  odd: { image: odd, memlimit: 1g }\n"))  # fmt: skip
    done = run(program, folder, BASE, **SETTING)
    assert done.returncode == 1
    assert "memlimit" in done.stderr
