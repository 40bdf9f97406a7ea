"""Build the Collector, Jaeger, Prometheus and Alertmanager from Go modules.

Needs Go (GO_MINIMUM or newer) and a module proxy; minutes on two cores, once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import ConfigurationError
from run.stack import pins, sources

Say = Callable[[str], None]

GO_MINIMUM = (1, 26)
JAEGER_VERSION = "github.com/jaegertracing/jaeger/internal/version.latestVersion"
PROMETHEUS_VERSION = "github.com/prometheus/common/version.Version"
#: Pages are embedded; without the clients of every cloud in which Prometheus can look for targets.
PROMETHEUS_TAGS = "netgo,builtinassets,remove_all_sd"
#: What Prometheus' own build generates once its pages are made.
PROMETHEUS_PAGES = """package ui

import "embed"

//go:embed static
var EmbedFS embed.FS
"""


def collector(root: Path, target: Path, say: Say) -> None:
    """Build the Collector with the components of run/stack/otelcol/builder.yaml."""
    source, log = _folder(root, "otelcol"), _log(root, "collector")
    source.mkdir(exist_ok=True)
    builder = target.with_name("builder")
    sources.module("collector", _folder(root, "builder"))
    _run(_go_build(builder, "."), _folder(root, "builder"), log, say, "its builder")
    manifest = root / "run" / "stack" / "otelcol" / "builder.yaml"
    generate = [str(builder), f"--config={manifest}", "--skip-compilation"]
    _run([*generate, f"--output-path={source}"], root, log, say, "its sources")
    _run(_go_build(target, "."), source, log, say, "the OpenTelemetry Collector")


def jaeger(root: Path, target: Path, say: Say) -> None:
    """Build Jaeger. Its HTTP API is whole; its web UI is a placeholder page, which it brings."""
    source = sources.module("jaeger", _folder(root, "jaeger"))
    command = _go_build(target, "./cmd/jaeger", _told(JAEGER_VERSION, "jaeger"))
    _run(command, source, _log(root, "jaeger"), say, "Jaeger")


def prometheus(root: Path, target: Path, say: Say) -> None:
    """Build Prometheus. It has all but its web UI."""
    source = sources.module("prometheus", _folder(root, "prometheus"))
    (source / "web" / "ui" / "embed.go").write_text(PROMETHEUS_PAGES)
    pages = source / "web" / "ui" / "static" / "mantine-ui"
    sources.placeholder(pages / "index.html", "Prometheus")
    told = _told(PROMETHEUS_VERSION, "prometheus")
    command = _go_build(target, "./cmd/prometheus", told, PROMETHEUS_TAGS)
    _run(command, source, _log(root, "prometheus"), say, "Prometheus")


def alertmanager(root: Path, target: Path, say: Say) -> None:
    """Build Alertmanager. It has all but its web UI."""
    source = sources.module("alertmanager", _folder(root, "alertmanager"))
    for pages in ("elm", "mantine"):
        sources.placeholder(source / "ui" / "app" / "dist" / pages / "index.html", "Alertmanager")
    command = _go_build(
        target, "./cmd/alertmanager", _told(PROMETHEUS_VERSION, "alertmanager"), "netgo"
    )
    _run(command, source, _log(root, "alertmanager"), say, "Alertmanager")


def _folder(root: Path, name: str) -> Path:
    """Where the sources of a server are. Raises ConfigurationError without a Go to build them."""
    _check_go()
    folder = root / ".cache" / "stack" / "src" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _told(variable: str, name: str) -> str:
    """For the linker: which version this is."""
    return f"-X {variable}={pins.read()[name].version}"


def _go_build(target: Path, package: str, linker_flags: str = "", tags: str = "") -> list[str]:
    flags = [f"-ldflags={f'-s -w {linker_flags}'.strip()}", *([f"-tags={tags}"] if tags else [])]
    return ["go", "build", "-v", "-trimpath", *flags, "-o", str(target), package]


def _check_go() -> None:
    go = shutil.which("go")
    if go is None:
        raise ConfigurationError("building it needs Go: https://go.dev/doc/install")
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < GO_MINIMUM:
        wanted = ".".join(map(str, GO_MINIMUM))
        raise ConfigurationError(
            f"building it needs Go {wanted} or newer, found: {version.strip()}"
        )


def _log(root: Path, name: str) -> Path:
    path = root / ".cache" / "stack" / "log" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def _run(
    command: list[str],
    folder: Path,
    log: Path,
    say: Say,
    what: str,
) -> None:
    """Run one step, its output to `log`, with a sign of life every 20 s."""
    say(f"  building {what} (log: {log})")
    began = time.monotonic()
    done = threading.Event()
    ticker = threading.Thread(target=_tick, args=(done, began, log, say, what), daemon=True)
    ticker.start()
    try:
        with log.open("ab") as output:
            finished = subprocess.run(
                command,
                cwd=folder,
                # nice: whoever works on this machine meanwhile should not notice.
                env={**os.environ, "GOWORK": "off"},
                preexec_fn=lambda: os.nice(10) and None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
    finally:
        done.set()
        ticker.join()
    if finished.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise ConfigurationError(f"building {what} failed, see {log}:\n{tail}")
    say(f"  built {what} in {time.monotonic() - began:.0f} s")


def _tick(done: threading.Event, began: float, log: Path, say: Say, what: str) -> None:
    while not done.wait(20.0):
        # `go build -v` names each package as it is compiled.
        packages = log.read_bytes().count(b"\n")
        say(f"  building {what}: {time.monotonic() - began:.0f} s, {packages} lines of log")
