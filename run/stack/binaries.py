"""Find or obtain the servers' programs.

In this order: on PATH, in `.cache/stack/bin`, built from Go modules, from a Debian package. What is
built is kept in `.cache/stack/bin`, which git ignores, until another version is pinned.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigurationError
from run.stack import build, pins

CACHE = Path(".cache") / "stack"


@dataclass(frozen=True)
class Binary:
    """One program: its names on PATH, its Debian package, how to build it, how to try it.

    `trial` is a command line's arguments that must succeed before a program found on
    PATH is used: another version may not know the words of our configuration. Of one that is
    `as_pinned` a minor release older than the pinned one is used only where no other is to be had.
    """

    name: str
    programs: tuple[str, ...]
    package: str | None = None
    build: Callable[[Path, Path, build.Say], None] | None = None
    trial: tuple[str, ...] = ("--version",)
    trial_environment: Mapping[str, str] | None = None
    #: The pin that has its version.
    pin: str = ""
    as_pinned: bool = False


BINARIES = (
    Binary("redis", ("redis-server",), package="redis-server", pin="redis"),
    Binary(
        "collector",
        ("otelcol", "otelcol-contrib"),
        build=build.collector,
        pin="collector",
        trial=(
            "validate",
            "--config=otel-collector.yaml",
            "--config=deploy/otel-collector.tail-sampling.yaml",
            "--config=deploy/otel-collector.secured.yaml",
            "--config=deploy/otel-collector.peers.yaml",
        ),
    ),
    Binary(
        "jaeger",
        ("jaeger",),
        build=build.jaeger,
        pin="jaeger",
        trial=("validate", "--config=jaeger/config.yaml"),
        trial_environment={"JAEGER_UI_CONFIG": "jaeger/ui.json"},
    ),
    Binary(
        "prometheus",
        ("prometheus",),
        package="prometheus",
        build=build.prometheus,
        pin="prometheus",
        as_pinned=True,
    ),
    Binary("promtool", ("promtool",), package="prometheus", pin="prometheus"),
    Binary(
        "alertmanager",
        ("alertmanager", "prometheus-alertmanager"),
        package="prometheus-alertmanager",
        build=build.alertmanager,
        pin="alertmanager",
        as_pinned=True,
    ),
)


def locate(root: Path, say: build.Say = print) -> dict[str, str]:
    """Path of every program; what is missing is obtained, or ConfigurationError says why not."""
    return {binary.name: str(_obtain(binary, root, say)) for binary in BINARIES}


def find(binary: Binary, root: Path, old: bool = False) -> Path | None:
    """A program that is there already, passes its trial, and is not older than what is asked for;
    with `old` it may be."""
    kept = root / CACHE / "bin"
    for folder in (os.environ.get("PATH", os.defpath), str(kept)):
        for program in binary.programs:
            path = shutil.which(program, path=folder)
            if path and _works(binary, path, root):
                # What is kept was obtained as a pin said, perhaps that of an earlier checkout.
                exactly = Path(path).parent == kept
                if (old and not exactly) or _as_pinned(binary, path, exactly):
                    return Path(path).absolute()
    return None


def _works(binary: Binary, path: str, root: Path) -> bool:
    return _ran(path, binary.trial, root, binary.trial_environment).returncode == 0


def _as_pinned(binary: Binary, path: str, exactly: bool) -> bool:
    if not exactly and not binary.as_pinned:
        return True
    said = _ran(path, ("--version",), Path(path).parent)
    wanted = _numbers(pins.read()[binary.pin].version)
    found = _numbers(said.stdout + said.stderr)
    return found == wanted if exactly else found[:2] >= wanted[:2]


def _numbers(version: str) -> tuple[int, ...]:
    """The first version in what a program says of itself; none is older than all."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def _ran(
    path: str, arguments: tuple[str, ...], folder: Path, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [path, *arguments],
        cwd=folder,
        env={**os.environ, **(more or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _obtain(binary: Binary, root: Path, say: build.Say) -> Path:
    if found := find(binary, root):
        return found
    cache = root / CACHE
    (cache / "bin").mkdir(parents=True, exist_ok=True)
    target = cache / "bin" / binary.programs[0]
    problems = []
    for attempt, old in _attempts(binary, root, target, say):
        try:
            attempt()
        except ConfigurationError as error:
            problems.append(str(error))
            say(f"  {binary.name}: {error}")
            continue
        if found := find(binary, root, old):
            return found
        problems.append("what was obtained does not accept our configuration")
    raise ConfigurationError(f"{binary.name} cannot be had: " + "; ".join(problems))


def _attempts(
    binary: Binary, root: Path, target: Path, say: build.Say
) -> Iterator[tuple[Callable[[], None], bool]]:
    """Ways to get it, and whether what they give may be older than what is pinned."""
    if builder := binary.build:
        yield lambda: builder(root, target, say), False
    if package := binary.package:
        if find(binary, root, old=True):
            yield lambda: say(f"  {binary.name}: an older one is taken"), True
        yield lambda: _install(package, say), True


def _install(package: str, say: build.Say) -> None:
    """Install a Debian package. Needs root; its service is not started."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise ConfigurationError(
            f"install the package {package} (Debian, Ubuntu) or put it on PATH"
        )
    say(f"  {package}: installing the Debian package")
    # A policy that forbids starting services: the package's own must not take our ports.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
    # The lists may be missing (a fresh container) or old: update once, then try again.
    for command in (install, ["apt-get", "update", "-q"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            return
    raise ConfigurationError(f"apt-get install {package} failed: {done.stderr.strip()[-300:]}")
