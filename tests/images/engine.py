"""The images of deploy/docker without an engine: built and run by buildah, in its chroot isolation.

A base of the same Debian as the official Python image's is made by debootstrap, which needs Debian
packages and nothing else: registries of images may be out of reach. Its Python is Debian's, one
minor version older. Base and layers are kept in `.cache/images`, which git ignores. All of it needs
root, on Debian: `apt-get install buildah debootstrap`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import psutil

from tests.paths import ROOT
from tests.servers import Process

CACHE: Final = ROOT / ".cache" / "images"
SUITE: Final = "bookworm"
BASE: Final = "localhost/damoscope-base:local"
#: As the official image has them: `python`, venv and pip, and who is trusted.
PACKAGES: Final = "ca-certificates,python-is-python3,python3-pip,python3-venv"
MIRROR: Final = "http://deb.debian.org/debian"
#: A builder has the certificates of the machine, whose way to PyPI may need them.
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
BUILD_S: Final = 3600.0


def buildah(*arguments: str, timeout_s: float = 120.0) -> str:
    """What it prints. Raises CalledProcessError; what it complains of is to be seen."""
    done = subprocess.run(
        [*_program(), *arguments],
        check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, timeout=timeout_s,
    )  # fmt: skip
    return done.stdout.strip()


@cache
def _program() -> tuple[str, ...]:
    found = shutil.which("buildah")
    assert found, "needs the Debian packages buildah and debootstrap"
    assert os.geteuid() == 0, "needs to be root"
    return found, "--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run")


def base() -> str:
    """The image that all are built on, made if it is not there; a minute or two."""
    if BASE.removesuffix(":local") in buildah("images", "--format", "{{.Name}}"):
        return BASE
    folder = CACHE / "base"
    shutil.rmtree(folder, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"making a base of Debian {SUITE} ...", flush=True)
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, folder, MIRROR],
        check=True, stdout=subprocess.DEVNULL, timeout=BUILD_S,
    )  # fmt: skip
    # The official image has neither packages' archives, nor is its pip Debian's to manage.
    shutil.rmtree(folder / "var" / "cache" / "apt")
    shutil.rmtree(folder / "var" / "lib" / "apt" / "lists")
    for marked in folder.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marked.unlink()
    _made_of(folder, BASE, "COPY . /\n")
    shutil.rmtree(folder)
    return BASE


def collector_base(binary: Path) -> str:
    """In the place of the Collector's released image: this program, started as there."""
    name = "localhost/damoscope-otelcol:local"
    folder = CACHE / "otelcol"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(binary, folder / "otelcol-contrib")
    start = 'COPY otelcol-contrib /\nENTRYPOINT ["/otelcol-contrib"]\n'
    _made_of(folder, name, start, base())
    return name


def _made_of(folder: Path, name: str, lines: str, under: str = "scratch") -> None:
    recipe = CACHE / "Dockerfile"
    recipe.write_text(f"FROM {under}\n{lines}", encoding="utf-8")
    buildah("bud", "--pull-never", "--isolation", "chroot", "--tag", name,
            "--file", str(recipe), str(folder), timeout_s=BUILD_S)  # fmt: skip


def build(part: str, **arguments: str) -> str:
    """The image of deploy/docker/`part`.Dockerfile by the repository's own lines; its name.

    But for one option of health checks, for which Debian's buildah is too old.
    """
    text = (ROOT / "deploy" / "docker" / f"{part}.Dockerfile").read_text(encoding="utf-8")
    CACHE.mkdir(parents=True, exist_ok=True)
    recipe = CACHE / f"{part}.Dockerfile"
    recipe.write_text(re.sub(r" --start-interval=\S+", "", text), encoding="utf-8")
    name = f"localhost/damoscope-{part}:local"
    trusted = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    # In Docker's format, which has health checks.
    buildah("bud", "--pull-never", "--isolation", "chroot", "--layers", "--format", "docker",
            *trusted, *given, "--tag", name, "--file", str(recipe), str(ROOT),
            timeout_s=BUILD_S)  # fmt: skip
    return name


class Container:
    """A container of an image: a file system of its own, the host's network."""

    def __init__(self, image: str, folder: Path, **env: str) -> None:
        self.folder = folder
        self.name = buildah("from", "--pull-never", image)
        self.root = Path(buildah("mount", self.name))
        told: dict[str, Any] = json.loads(buildah("inspect", self.name))
        self.config: dict[str, Any] = told["Docker"]["config"]
        for key, value in env.items():
            buildah("config", "--env", f"{key}={value}", self.name)

    def run(self, *command: str) -> str:
        """What a command prints in it."""
        return buildah(*self._in_it(*command))

    def start(self, *arguments: str) -> Process:
        """What the image is for, or with other arguments."""
        command = [*(self.config["Entrypoint"] or ()), *(arguments or self.config["Cmd"])]
        return Process([*_program(), *self._in_it(*command)], self.folder)

    def healthy(self) -> bool:
        """By the image's own check."""
        kind, *command = self.config["Healthcheck"]["Test"]
        if kind == "CMD-SHELL":
            command = ["/bin/sh", "-c", *command]
        return self.succeeds(*command)

    def succeeds(self, *command: str) -> bool:
        """Whether a command in it ends well."""
        done = subprocess.run([*_program(), *self._in_it(*command)], timeout=120)
        return done.returncode == 0

    def _in_it(self, *command: str) -> list[str]:
        return ["run", "--isolation", "chroot", "--cap-drop", "all", self.name, "--", *command]

    def megabytes(self, path: str) -> float:
        """Of all files under a path."""
        folder = self.root / path.lstrip("/")
        seen = {(told.st_dev, told.st_ino): told.st_size for told in map(os.lstat, _all(folder))}
        return sum(seen.values()) / 1e6

    def remove(self) -> None:
        buildah("umount", self.name)
        buildah("rm", self.name)


def _all(folder: Path) -> list[Path]:
    return [Path(at, name) for at, _, names in os.walk(folder) for name in names]


def inner(process: Process, user: int = 10001) -> psutil.Process:
    """Of what runs a container, the process in it: buildah's own change their user, too."""
    family = [each for each in process.family() if each.uids().real == user]
    return next(each for each in family if not each.cmdline()[0].startswith("buildah"))
