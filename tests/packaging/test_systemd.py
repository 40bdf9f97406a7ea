"""deploy/systemd: units that systemd accepts, confined, and that stop as containers do."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import load
from run import cli
from run.processes import LEAVE_S
from run.up import BAD_SETTINGS
from tests.paths import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
PROGRAM = "/opt/damoscope/bin/damoscope"


def section(unit: Path, name: str = "Service") -> dict[str, str]:
    parser = configparser.ConfigParser(
        strict=True, interpolation=None, comment_prefixes=("#",), delimiters=("=",)
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text(encoding="utf-8"))
    return dict(parser[name])


def analyze(*arguments: str) -> str:
    """What systemd-analyze says; fails when it finds fault."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze here (Debian package `systemd`)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with this environment's program, which systemd looks for."""
    folder = tmp_path_factory.mktemp("units")
    here = Path(sys.executable).with_name("damoscope")
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        assert text.count(PROGRAM) == 1
        (folder / unit.name).write_text(text.replace(PROGRAM, str(here)), encoding="utf-8")
    return folder


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_it(unit: Path, installed: Path) -> None:
    """Every word is one that systemd knows, and its program is there; an instance of a template,
    too."""
    name = unit.name.replace("@.", "@1.")
    if name != unit.name:
        (installed / name).write_bytes((installed / unit.name).read_bytes())
    said = analyze("verify", "--man=no", str(installed / name))
    assert str(installed) not in said, said


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_it_is_confined(unit: Path, installed: Path) -> None:
    """Of 100, which is a service that may do everything, at most 30."""
    analyze("security", "--offline=yes", "--threshold=30", str(installed / unit.name))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_it_runs(unit: Path) -> None:
    """A command that there is; wrong settings end it for good, everything else starts it again."""
    service = section(unit)
    program, command = service["ExecStart"].split()
    assert program == PROGRAM
    assert command in {
        registered.name or (registered.callback and registered.callback.__name__)
        for registered in cli.app.registered_commands
    }
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(BAD_SETTINGS)
    assert section(unit, "Unit")["StartLimitIntervalSec"] == "0"


def test_each_has_the_time_that_it_needs_to_stop() -> None:
    """What is in hand is finished: as long as docker-compose.yml allows, and `up` for both."""
    given = {unit.stem: float(section(unit)["TimeoutStopSec"]) for unit in UNITS}
    drain_s = load().drain_s + LEAVE_S
    assert given["damoscope-frontend"] >= drain_s
    assert given["damoscope-worker@"] >= 60
    assert given["damoscope"] >= drain_s + 60
