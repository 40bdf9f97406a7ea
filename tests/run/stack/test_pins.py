"""Servers are of one version everywhere, and of one that is supported."""

from __future__ import annotations

import re
import subprocess
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from run.stack import pins
from run.stack.binaries import BINARIES, Binary, find
from tests.run.stack import compose

ROOT = compose.ROOT
PINS = pins.read()
#: What is made here, under a name that .env may change.
OURS = re.compile(r"^(\$\{|damoscope)")


def test_all_are_supported() -> None:
    """Or, where a project names no dates, were looked at not long ago."""
    assert pins.overdue(PINS, date.today()) == []


def test_one_that_is_overdue_is_named() -> None:
    """With what to do."""
    pin = PINS["prometheus"]
    assert pins.overdue({"prometheus": pin}, pin.until) == []
    (said,) = pins.overdue({"prometheus": pin}, pin.until + timedelta(days=1))
    assert said.startswith(f"prometheus {pin.version} is out of support since {pin.until}")
    assert pin.source in said
    assert "pins.toml" in said


@pytest.mark.parametrize("name", PINS)
def test_what_it_says_of_itself_agrees(name: str) -> None:
    """Its image is of its version, and its module has the sum of one."""
    pin = PINS[name]
    assert re.search(rf":v?{re.escape(pin.version)}(-|$)", pin.image)
    assert pin.source.startswith("https://")
    assert bool(pin.module) == bool(pin.sum)
    if pin.module:
        assert re.fullmatch(r"[\w./-]+@v\d+\.\d+\.\d+", pin.module)
        assert re.fullmatch(r"h1:[\w+/]{43}=", pin.sum)


def test_its_image_is_the_same_wherever_it_is_named() -> None:
    """In Compose, Dockerfiles, chart, docs and everywhere else: that version, or a shorter 3.12."""
    versions = {pin.image.partition(":")[0]: pin.version for pin in PINS.values()}
    names = "|".join(map(re.escape, versions))
    named = re.compile(rf"(?<![\w/.-])({names}):v?(\d+(?:\.\d+)+)")
    others = [
        f"{path}: {match[0]}"
        for path in _texts()
        for match in named.finditer((ROOT / path).read_text(encoding="utf-8"))
        if not f"{versions[match[1]]}.".startswith(f"{match[2]}.")
    ]
    assert others == []


def test_every_image_of_others_is_pinned() -> None:
    """Those of Compose, of Dockerfiles and of the chart."""
    services = compose.load({"REDIS_PASSWORD": "x"})["services"].values()
    found = {service["image"] for service in services if "build" not in service}
    for path in ("frontend", "worker", "collector"):
        lines = compose.dockerfile(f"deploy/docker/{path}.Dockerfile")
        found |= {
            value.partition("=")[2] for word, value in lines if word == "ARG" and "_IMAGE=" in value
        }
    values = yaml.safe_load(compose.text("deploy/helm/damoscope/values.yaml"))
    found |= {values[part]["image"] for part in ("valkey", "collector")}
    assert {image for image in found if not OURS.match(image)} == {
        pin.image for pin in PINS.values()
    }


def test_the_collector_is_built_of_one_release() -> None:
    """Its parts are those of the version, and its providers those of one stable release."""
    manifest = yaml.safe_load(compose.text("run/stack/otelcol/builder.yaml"))
    version = PINS["collector"].version
    assert manifest["dist"]["version"] == version
    assert PINS["collector"].module.endswith(f"@v{version}")
    providers = {each["gomod"].split(" v")[1] for each in manifest.pop("providers")}
    assert len(providers) == 1
    # Of others' modules, that the parts ask for.
    assert not any("opentelemetry" in each for each in manifest.pop("replaces"))
    parts = [each["gomod"] for group in manifest.values() if group is not manifest["dist"]
             for each in group]  # fmt: skip
    assert {part.split(" v")[1] for part in parts} == {version}


@pytest.mark.stack
@pytest.mark.parametrize("binary", BINARIES, ids=lambda binary: binary.name)
def test_what_is_tested_is_what_is_pinned(binary: Binary) -> None:
    """The servers of these tests are not older: `python -m run.stack fetch` built them."""
    assert find(binary, ROOT)


def _texts() -> list[Path]:
    """Files in git that a version may be written in."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kinds = {".md", ".yml", ".yaml", ".py", ".toml", ".Dockerfile", ".example", ".json", ".sh", ""}
    return [
        path for line in listed.stdout.splitlines()
        if (path := Path(line)).suffix in kinds and (ROOT / path).is_file()
    ]  # fmt: skip
