"""Pinned releases: downloaded where the internet is, refused when a byte differs."""

from __future__ import annotations

import hashlib
import platform
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from pipeline.errors import ConfigurationError

GITHUB = "https://github.com"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
#: Between two bytes; an unreachable host fails in seconds and the next way is tried.
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Release:
    """An archive of one program for Linux: where it is, its sha256, its file in there."""

    url: str
    sha256: str
    member: str


#: Versions are those of the images in docker-compose.yml. Jaeger is missing: built from
#: its modules (run/stack/build.py), whose checksums Go verifies.
RELEASES = {
    ("collector", "amd64"): Release(
        f"{GITHUB}/open-telemetry/opentelemetry-collector-releases/releases/download/"
        "v0.155.0/otelcol-contrib_0.155.0_linux_amd64.tar.gz",
        "229cfddeb0621d2a011bfd1c8894335479e46349b93a0cfbccbe653443a3ec95",
        "otelcol-contrib",
    ),
    ("prometheus", "amd64"): Release(
        f"{GITHUB}/prometheus/prometheus/releases/download/"
        "v3.5.0/prometheus-3.5.0.linux-amd64.tar.gz",
        "e811827af26d822afb09a4f28314f61b618b12cff5369835a67f674d8b46f39a",
        "prometheus-3.5.0.linux-amd64/prometheus",
    ),
    ("promtool", "amd64"): Release(
        f"{GITHUB}/prometheus/prometheus/releases/download/"
        "v3.5.0/prometheus-3.5.0.linux-amd64.tar.gz",
        "e811827af26d822afb09a4f28314f61b618b12cff5369835a67f674d8b46f39a",
        "prometheus-3.5.0.linux-amd64/promtool",
    ),
    ("alertmanager", "amd64"): Release(
        f"{GITHUB}/prometheus/alertmanager/releases/download/"
        "v0.28.1/alertmanager-0.28.1.linux-amd64.tar.gz",
        "5ac7ab5e4b8ee5ce4d8fb0988f9cb275efcc3f181b4b408179fafee121693311",
        "alertmanager-0.28.1.linux-amd64/alertmanager",
    ),
    ("alertmanager", "arm64"): Release(
        f"{GITHUB}/prometheus/alertmanager/releases/download/"
        "v0.28.1/alertmanager-0.28.1.linux-arm64.tar.gz",
        "d8832540e5b9f613d2fd759e31d603173b9c61cc7bb5e3bc7ae2f12038b1ce4f",
        "alertmanager-0.28.1.linux-arm64/alertmanager",
    ),
}


def fetch(name: str, target: Path, say: Callable[[str], None] = print) -> None:
    """Download, verify and unpack the release of `name` to `target`. Raises ConfigurationError."""
    machine = MACHINES.get(platform.machine(), platform.machine())
    release = RELEASES.get((name, machine))
    if release is None or platform.system() != "Linux":
        raise ConfigurationError(f"no pinned release of {name} for {platform.system()} {machine}")
    unpack(release, target, say)


def unpack(release: Release, target: Path, say: Callable[[str], None]) -> None:
    """Download one release, check it and write its program to `target`, executable."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        archive = Path(folder) / "archive.tar.gz"
        found = _download(release.url, archive, say)
        if found != release.sha256:
            raise ConfigurationError(f"{release.url} has sha256 {found}, expected {release.sha256}")
        with tarfile.open(archive) as opened:
            source = opened.extractfile(release.member)
            if source is None:
                raise ConfigurationError(f"{release.url} holds no file {release.member}")
            program = Path(folder) / "program"
            program.write_bytes(source.read())
        program.chmod(0o755)
        # Last and in one step: another process never sees half a program.
        program.replace(target)


def _download(url: str, target: Path, say: Callable[[str], None]) -> str:
    """Download with progress; return the sha256."""
    digest = hashlib.sha256()
    name = url.rsplit("/", 1)[-1]
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer, target.open("wb") as file:
            total = int(answer.headers.get("content-length") or 0)
            done, shown = 0, -1
            while part := answer.read(1 << 20):
                file.write(part)
                digest.update(part)
                done += len(part)
                tenth = done * 10 // total if total else done >> 24
                if tenth != shown:
                    shown = tenth
                    of = f" of {total >> 20}" if total else ""
                    say(f"  {name}: {done >> 20}{of} MiB")
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigurationError(f"{name} cannot be downloaded ({reason})") from error
    return digest.hexdigest()
