"""Find or obtain the servers' programs.

In this order: on PATH, in `.cache/stack/bin`, from a pinned release (checked by
sha256), from a Debian package, built from Go modules. What is obtained is kept in
`.cache/stack/bin`, which git ignores.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigurationError
from run.stack import build, releases

CACHE = Path(".cache") / "stack"


@dataclass(frozen=True)
class Binary:
    """One program: its names on PATH, its Debian package, how to build it, how to try it.

    `trial` is a command line's arguments that must succeed before a program found on
    PATH is used: another version may not know the words of our configuration.
    """

    name: str
    programs: tuple[str, ...]
    package: str | None = None
    build: Callable[[Path, Path, build.Say], None] | None = None
    trial: tuple[str, ...] = ("--version",)
    trial_environment: Mapping[str, str] | None = None


BINARIES = (
    Binary("redis", ("redis-server",), package="redis-server"),
    Binary(
        "collector",
        ("otelcol", "otelcol-contrib"),
        build=build.collector,
        trial=(
            "validate",
            "--config=otel-collector.yaml",
            "--config=deploy/otel-collector.tail-sampling.yaml",
            "--config=deploy/otel-collector.secured.yaml",
        ),
    ),
    Binary(
        "jaeger",
        ("jaeger",),
        build=build.jaeger,
        trial=("validate", "--config=jaeger/config.yaml"),
        trial_environment={"JAEGER_UI_CONFIG": "jaeger/ui.json"},
    ),
    Binary("prometheus", ("prometheus",), package="prometheus"),
    Binary("promtool", ("promtool",), package="prometheus"),
    Binary(
        "alertmanager",
        ("alertmanager", "prometheus-alertmanager"),
        package="prometheus-alertmanager",
    ),
)


def locate(root: Path, say: build.Say = print) -> dict[str, str]:
    """Path of every program; what is missing is obtained, or ConfigurationError says why not."""
    return {binary.name: str(_obtain(binary, root, say)) for binary in BINARIES}


def find(binary: Binary, root: Path) -> Path | None:
    """A program that is there already and passes its trial."""
    kept = str(root / CACHE / "bin")
    for folder in (os.environ.get("PATH", os.defpath), kept):
        for program in binary.programs:
            path = shutil.which(program, path=folder)
            if path and _works(binary, path, root):
                return Path(path).absolute()
    return None


def _works(binary: Binary, path: str, root: Path) -> bool:
    tried = subprocess.run(
        [path, *binary.trial],
        cwd=root,
        env={**os.environ, **(binary.trial_environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def _obtain(binary: Binary, root: Path, say: build.Say) -> Path:
    if found := find(binary, root):
        return found
    cache = root / CACHE
    (cache / "bin").mkdir(parents=True, exist_ok=True)
    target = cache / "bin" / binary.programs[0]
    attempts: list[Callable[[], None]] = [lambda: releases.fetch(binary.name, target, say)]
    if binary.package:
        package = binary.package
        attempts.append(lambda: _install(package, say))
    if binary.build:
        builder = binary.build
        attempts.append(lambda: builder(root, target, say))
    problems = []
    for attempt in attempts:
        try:
            attempt()
        except ConfigurationError as error:
            problems.append(str(error))
            say(f"  {binary.name}: {error}")
            continue
        if found := find(binary, root):
            return found
        problems.append("what was obtained does not accept our configuration")
    raise ConfigurationError(f"{binary.name} cannot be had: " + "; ".join(problems))


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
