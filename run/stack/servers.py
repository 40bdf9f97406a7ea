"""The servers of the full stack as programs: commands, environments, health checks.

They stop after the service (run/stack/app.py), in `stop_order`: what others talk to comes last.

The options are those of docker-compose.yml; tests/run/stack checks that they agree.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from run import health
from run.environment import of_server
from run.processes import Program
from run.stack.binaries import CACHE
from run.stack.ports import HOST, Ports


@dataclass(frozen=True)
class Layout:
    """Where things are: the repository, the data folder, the binaries, the ports."""

    root: Path
    home: Path
    ports: Ports
    binaries: Mapping[str, str]
    password: str
    overlay: str = "otel-collector.yaml"

    @property
    def config(self) -> Path:
        """Folder of the rendered prometheus/ and alertmanager/."""
        return self.home / "config"

    @property
    def webhook_token(self) -> Path:
        """File with the token by which the frontend knows Alertmanager."""
        return self.home / "webhook-token"

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.home / "log"

    @property
    def jaeger_has_pages(self) -> bool:
        """Whether this Jaeger has its web UI; one that is built from Go modules has a placeholder
        in its place, and only its HTTP API is whole."""
        return self.root.joinpath(CACHE) not in Path(self.binaries["jaeger"]).parents

    def data(self, name: str) -> Path:
        """Data folder of one server."""
        return self.home / "data" / name

    @property
    def redis_url(self) -> str:
        """Redis with its password, as frontend and workers want it."""
        return f"redis://:{self.password}@{HOST}:{self.ports.redis}/0"


def redis(at: Layout) -> Program:
    """Redis, by the same start script and configuration as in Compose."""
    return Program(
        name="redis",
        command=["/bin/sh", str(at.root / "deploy" / "docker" / "redis-start.sh")],
        environment=of_server()
        | _passed("REDIS_MAXMEMORY")
        | {
            "PATH": f"{Path(at.binaries['redis']).parent}:/usr/bin:/bin",
            "REDIS_CONF": str(at.root / "deploy" / "docker" / "redis.conf"),
            "REDIS_BIND": HOST,
            "REDIS_PORT": str(at.ports.redis),
            "REDIS_DIR": str(at.data("redis")),
            "REDIS_PASSWORD": at.password,
        },
        ready=health.redis(at.redis_url),
        stop_order=5,
    )


def collector(at: Layout) -> Program:
    """The OpenTelemetry Collector."""
    ports = at.ports
    return Program(
        name="collector",
        command=[
            at.binaries["collector"],
            f"--config={at.root / 'otel-collector.yaml'}",
            f"--config={at.root / at.overlay}",
        ],
        environment=of_server()
        | _passed(
            "COLLECTOR_",
            "SAMPLING_",
            "LOGS_OTLP_URL",
            "DEPLOYMENT_ENVIRONMENT",
            "OTLP_",
            "TLS_RELOAD",
        )
        | {
            "COLLECTOR_OTLP_GRPC": f"{HOST}:{ports.otlp_grpc}",
            "COLLECTOR_OTLP_HTTP": f"{HOST}:{ports.otlp_http}",
            "COLLECTOR_DATA": str(at.data("collector")),
            "COLLECTOR_HEALTH": f"{HOST}:{ports.collector_health}",
            "COLLECTOR_METRICS": f"{HOST}:{ports.collector_metrics}",
            "COLLECTOR_TELEMETRY_HOST": HOST,
            "COLLECTOR_TELEMETRY_PORT": str(ports.collector_telemetry),
            "JAEGER_OTLP_URL": f"http://{HOST}:{ports.jaeger_otlp_http}",
            "GOMEMLIMIT": "400MiB",
        },
        ready=health.http(f"http://{HOST}:{ports.collector_health}/"),
        stop_order=3,
    )


def jaeger(at: Layout) -> Program:
    """Jaeger v2: storage, queries and UI."""
    ports = at.ports
    return Program(
        name="jaeger",
        command=[at.binaries["jaeger"], f"--config={at.root / 'jaeger' / 'config.yaml'}"],
        environment=of_server()
        | _passed("JAEGER_")
        | {
            "JAEGER_OTLP_GRPC": f"{HOST}:{ports.jaeger_otlp_grpc}",
            "JAEGER_OTLP_HTTP": f"{HOST}:{ports.jaeger_otlp_http}",
            "JAEGER_QUERY_HTTP": f"{HOST}:{ports.jaeger}",
            "JAEGER_QUERY_GRPC": f"{HOST}:{ports.jaeger_grpc}",
            "JAEGER_HEALTH": f"{HOST}:{ports.jaeger_health}",
            "JAEGER_TELEMETRY_HOST": HOST,
            "JAEGER_TELEMETRY_PORT": str(ports.jaeger_telemetry),
            "JAEGER_DATA": str(at.data("jaeger")),
            "JAEGER_UI_CONFIG": str(at.root / "jaeger" / "ui.json"),
            "PROMETHEUS_URL": f"http://{HOST}:{ports.prometheus}",
        },
        ready=health.http(f"http://{HOST}:{ports.jaeger_health}/status"),
        stop_order=4,
        stop_timeout_s=60.0,
    )


def prometheus(at: Layout) -> Program:
    """Prometheus, with exemplars."""
    return Program(
        name="prometheus",
        command=[
            at.binaries["prometheus"],
            f"--config.file={at.config / 'prometheus' / 'prometheus.yml'}",
            f"--storage.tsdb.path={at.data('prometheus')}",
            f"--storage.tsdb.retention.time={_given('PROMETHEUS_RETENTION', '30d')}",
            f"--storage.tsdb.retention.size={_given('PROMETHEUS_RETENTION_SIZE', '10GB')}",
            "--enable-feature=exemplar-storage",
            f"--web.listen-address={HOST}:{at.ports.prometheus}",
        ],
        ready=health.http(f"http://{HOST}:{at.ports.prometheus}/-/ready"),
        stop_order=4,
        stop_timeout_s=60.0,
    )


def alertmanager(at: Layout) -> Program:
    """Alertmanager, alone (no gossip)."""
    return Program(
        name="alertmanager",
        command=[
            at.binaries["alertmanager"],
            f"--config.file={at.config / 'alertmanager' / 'alertmanager.yml'}",
            f"--storage.path={at.data('alertmanager')}",
            "--cluster.listen-address=",
            f"--web.listen-address={HOST}:{at.ports.alertmanager}",
        ],
        ready=health.http(f"http://{HOST}:{at.ports.alertmanager}/-/ready"),
        stop_order=4,
    )


def servers(at: Layout) -> list[Program]:
    """All of them, in the order they are started."""
    return [redis(at), jaeger(at), prometheus(at), alertmanager(at), collector(at)]


def _given(name: str, default: str) -> str:
    """A variable of .env, which run.stack.dotenv has put into the environment."""
    return os.environ.get(name) or default


def _passed(*prefixes: str) -> dict[str, str]:
    """Those variables of .env that a server's configuration reads."""
    return {name: value for name, value in os.environ.items() if name.startswith(prefixes)}
