"""Build the Collector and Jaeger from Go modules, for machines without internet.

Needs Go (GO_MINIMUM or newer) and a module proxy; six to ten minutes on two cores, once.
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

Say = Callable[[str], None]

GO_MINIMUM = (1, 25)
#: The version of otelcol/builder.yaml and of the collector image.
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.155.0"
#: Jaeger 2.13.0 is tagged v1.76.0 as a Go module.
JAEGER_PACKAGE = "github.com/jaegertracing/jaeger/cmd/jaeger"
JAEGER_VERSION = "2.13.0"
VERSION_VARIABLE = "github.com/jaegertracing/jaeger/internal/version.latestVersion"


def collector(root: Path, target: Path, say: Say) -> None:
    """Build the Collector with the components of run/stack/otelcol/builder.yaml."""
    _check_go()
    tools, source = target.parent, root / ".cache" / "stack" / "src" / "otelcol"
    source.mkdir(parents=True, exist_ok=True)
    log = _log(root, "collector")
    _run(["go", "install", BUILDER], root, log, say, "its builder", {"GOBIN": str(tools)})
    manifest = root / "run" / "stack" / "otelcol" / "builder.yaml"
    generate = [str(tools / "builder"), f"--config={manifest}", "--skip-compilation"]
    _run([*generate, f"--output-path={source}"], root, log, say, "its sources")
    _run(_go_build(target, "."), source, log, say, "the OpenTelemetry Collector")


def jaeger(root: Path, target: Path, say: Say) -> None:
    """Build Jaeger. Its HTTP API is whole; its web UI is a placeholder page.

    `go install` refuses it because its go.mod holds a replace directive, so
    run/stack/jaeger holds a module that requires it, with the same directive and sums.
    """
    _check_go()
    command = _go_build(target, JAEGER_PACKAGE, f"-X {VERSION_VARIABLE}={JAEGER_VERSION}")
    _run(command, root / "run" / "stack" / "jaeger", _log(root, "jaeger"), say, "Jaeger")


def _go_build(target: Path, package: str, linker_flags: str = "") -> list[str]:
    flags = f"-s -w {linker_flags}".strip()
    return ["go", "build", "-v", "-trimpath", f"-ldflags={flags}", "-o", str(target), package]


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
    environment: dict[str, str] | None = None,
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
                env={**os.environ, **(environment or {})},
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
