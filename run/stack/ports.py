"""Where each server of the native stack listens: 127.0.0.1 and these ports."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import SystemRandom

HOST = "127.0.0.1"
#: Between which ports are chosen, and fewer of them than can be chosen among.
LOWEST, HIGHEST, FEW = 10_000, 65_535, 1000


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
        names = [field.name for field in fields(cls)]
        found: set[int] = set()
        while len(found) < len(names):
            found.add(free_port())
        return cls(**dict(zip(names, found, strict=True)))

    def taken(self) -> dict[str, int]:
        """Those of these ports that something listens on already."""
        return {name: port for name, port in asdict(self).items() if _answers(port)}


def free_port(together: int = 1) -> int:
    """A port that nothing listens on; the first of so many in a row.

    None of those that the kernel gives to connections: one of these, even one that asks for the
    very server that is to come, would take it before the server, seconds later, binds it.
    """
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    lowest, highest = map(int, given.split())
    if max(0, lowest - LOWEST) + max(0, HIGHEST - highest) < FEW:
        lowest = highest = 0  # it has been given nearly all: then any is as good
    # Whoever runs beside may have been given the same seed.
    random = SystemRandom()
    while True:
        row = range(first := random.randrange(LOWEST, HIGHEST + 1 - together), first + together)
        if any(lowest <= port <= highest for port in row):
            continue
        with ExitStack() as held, suppress(OSError):
            for port in row:
                held.enter_context(socket.socket()).bind((HOST, port))
            return first


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0
