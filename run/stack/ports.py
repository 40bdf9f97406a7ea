"""Where each server of the native stack listens: 127.0.0.1 and these ports."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """The usual ports, as in docker-compose.yml.

    Collector and Jaeger, which have an address each in Compose, share one here: Jaeger's
    OTLP, health and telemetry ports are moved aside.
    """

    redis: int = 6379
    frontend: int = 7860
    otlp_grpc: int = 4317
    otlp_http: int = 4318
    collector_health: int = 13133
    collector_metrics: int = 8889
    collector_telemetry: int = 8888
    jaeger: int = 16686
    jaeger_grpc: int = 16685
    jaeger_otlp_grpc: int = 14317
    jaeger_otlp_http: int = 14318
    jaeger_health: int = 13134
    jaeger_telemetry: int = 8887
    prometheus: int = 9090
    alertmanager: int = 9093

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody listens on at this moment, all different."""
        with ExitStack() as held:
            found = {}
            for field in fields(cls):
                listener = held.enter_context(socket.socket())
                listener.bind((HOST, 0))
                found[field.name] = listener.getsockname()[1]
        return cls(**found)

    def taken(self) -> dict[str, int]:
        """Those of these ports that something listens on already."""
        return {name: port for name, port in asdict(self).items() if _answers(port)}


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0
