"""Frontend, workers and watcher as programs, pointed at the native servers.

They stop before the servers, what takes images first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.setting_readers import Process
from pipeline.settings import Settings, load, variable
from run import health
from run.environment import of
from run.processes import LEAVE_S, Program
from run.stack.ports import HOST
from run.stack.servers import Layout

#: Folders that docker-compose.yml mounts: where, which variable names another, and the usual one.
_MOUNTED = (
    ("/models/", "MODELS_DIR", "models"),
    ("/etc/damoscope/", "FILES_DIR", "deploy/docker/files"),
)
#: Settings that name a file as containers have it; others name one of the host.
_IN_CONTAINERS = (
    "DAMOSCOPE_MODEL", "DAMOSCOPE_LABELS", "DAMOSCOPE_ALERTS", "DAMOSCOPE_KEYS_FILE",
)  # fmt: skip


def environment(at: Layout, process: Process) -> dict[str, str]:
    """What docker-compose.yml sets for them, with native addresses, of what each reads.

    That is also what it passes on from .env: run.stack.dotenv reads it.
    """
    ports = at.ports

    def given(name: str, default: str) -> str:
        return os.environ.get(name) or default

    found = {
        "REDIS_URL": at.redis_url,
        "DAMOSCOPE_HOME": str(at.data("damoscope")),
        "DAMOSCOPE_HOST": HOST,
        "DAMOSCOPE_PORT": str(ports.frontend),
        "DAMOSCOPE_PROMETHEUS_URL": f"http://{HOST}:{ports.prometheus}",
        "DAMOSCOPE_JAEGER_URL": f"http://{HOST}:{ports.jaeger}",
        "DAMOSCOPE_PUBLIC_URL": given("DAMOSCOPE_PUBLIC_URL", f"http://{HOST}:{ports.frontend}"),
        "DAMOSCOPE_WEBHOOK_TOKEN_FILE": str(at.webhook_token),
        "OTEL_EXPORTER_OTLP_ENDPOINT": given(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{HOST}:{ports.otlp_grpc}"
        ),
        "OTEL_EXPORTER_OTLP_PROTOCOL": given("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    }
    if at.jaeger_has_pages:  # else the pages lead to their own
        found["DAMOSCOPE_JAEGER_UI_URL"] = given(
            "DAMOSCOPE_JAEGER_UI_URL", f"http://{HOST}:{ports.jaeger}"
        )
    read = {variable(name) for name in Settings.read_by(process)}
    for name in _IN_CONTAINERS:
        # What a container has as one of these is a folder of the host.
        for mounted, host, usual in _MOUNTED:
            if (path := os.environ.get(name, "")).startswith(mounted):
                found[name] = str(at.root / given(host, usual) / path.removeprefix(mounted))
    ours = {
        name: value
        for name, value in found.items()
        if name in read or not name.startswith("DAMOSCOPE_")
    }
    return of(process) | ours


def _damoscope() -> str:
    """The `damoscope` command of the environment that runs this."""
    return str(Path(sys.executable).with_name("damoscope"))


def frontend(at: Layout, probe: str = "/healthz") -> Program:
    """The frontend; ready as soon as it answers or, by `/readyz`, once a worker is ready too."""
    drain_s = load().drain_s
    return Program(
        name="frontend",
        command=[_damoscope(), "frontend"],
        environment=environment(at, "frontend"),
        ready=health.http(f"http://{HOST}:{at.ports.frontend}{probe}"),
        stop_timeout_s=drain_s + LEAVE_S,
        listens=(HOST, at.ports.frontend),
    )


def worker(at: Layout, number: int) -> Program:
    """One worker. It has no address: it is ready when it is registered in Redis."""
    return Program(
        name=f"worker-{number}",
        command=[_damoscope(), "worker"],
        environment=environment(at, "worker"),
        ready=health.worker(at.redis_url),
        stop_order=1,
        stop_timeout_s=60.0,
    )


def watcher(at: Layout) -> Program:
    """The watcher. It has no address: its log says when it watches."""
    return Program(
        name="watcher",
        command=[_damoscope(), "watcher"],
        environment=environment(at, "watcher"),
        stop_order=2,
    )
