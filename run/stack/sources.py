"""The servers' sources: Go modules by the versions and the sums of pins.toml.

Go verifies what such a module requires by the go.sum that is in it.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

from pipeline.errors import ConfigurationError
from run.stack import pins

#: Web pages are made by other tools and are in no Go module: the programs are built with this.
PLACEHOLDER = """<!doctype html>
<meta charset="utf-8">
<title>{name}</title>
<p>This {name} was built from its Go module, which has no web pages. Its API is whole.</p>
"""


def module(name: str, target: Path) -> Path:
    """The sources of a server, anew, in `target`. Raises ConfigurationError."""
    pin = pins.read()[name]
    done = subprocess.run(
        ["go", "mod", "download", "-json", pin.module],
        # In no module of ours.
        cwd=target.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = json.loads(done.stdout).get("Error") if done.stdout else done.stderr.strip()
        raise ConfigurationError(f"{pin.module} cannot be downloaded: {said}")
    found = json.loads(done.stdout)
    if found["Sum"] != pin.sum:
        raise ConfigurationError(f"{pin.module} has the sum {found['Sum']}, expected {pin.sum}")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(found["Dir"], target, copy_function=shutil.copyfile)
    # Go keeps its own copy read-only.
    for folder in (target, *(each for each in target.rglob("*") if each.is_dir())):
        folder.chmod(0o755)
    return target


def placeholder(page: Path, name: str) -> None:
    """Write a page that stands for those of a server, packed as its own are."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.with_name(page.name + ".gz").write_bytes(
        gzip.compress(PLACEHOLDER.format(name=name).encode(), mtime=0)
    )
