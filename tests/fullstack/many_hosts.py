"""The service on a dozen hosts: two frontends behind nginx, Redis and a replica of it that three
Sentinels watch, and a worker on each of eight. Hosts are network namespaces, the rest is real."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
from redis import Redis
from redis.exceptions import RedisError

from tests.fullstack.network import Network
from tests.security.proxies import documented, nginx, replaced
from tests.servers import Process, answers, eventually

FRONTENDS, REDISES = ("front-a", "front-b"), ("redis-a", "redis-b")
WORKERS = tuple(f"worker-{number}" for number in range(1, 9))
#: A majority of them outlives any one host.
SENTINELS = ("redis-a", "redis-b", "front-a")
SERVICE, PASSWORD = "images", "a-password-of-this-test"
REDIS_PORT, SENTINEL_PORT, FRONTEND_PORT = 6379, 26379, 7860


class Cluster:
    """All of it but the workers, from when it can be asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        try:
            self.network = self._stack.enter_context(Network([*FRONTENDS, *REDISES, *WORKERS]))
            self._start_redis()
            self._start_frontends()
            self._start_proxy()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- starting -------------------------------------------------------------------------

    def _start(self, host: str, name: str, command: list[str], **environment: str) -> Process:
        process = Process(self.network.command(host, command), self._folder / name, environment)
        self._stack.callback(process.stop)
        self.processes[name] = process
        return process

    def _start_configured(self, host: str, name: str, lines: list[str], *options: str) -> None:
        folder = self._folder / name
        folder.mkdir()
        file = folder / "redis.conf"
        file.write_text("\n".join([*lines, f"dir {folder}", ""]))
        binary = shutil.which("redis-server")
        assert binary, "the Debian package redis-server is missing"
        self._start(host, name, [binary, str(file), *options])

    def _start_redis(self) -> None:
        first = self.network.address[REDISES[0]]
        for host in REDISES:
            lines = [f"port {REDIS_PORT}", f"bind {self.network.address[host]}",
                     f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", 'save ""',
                     "repl-diskless-sync-delay 0"]  # fmt: skip
            if host != REDISES[0]:
                lines.append(f"replicaof {first} {REDIS_PORT}")
            self._start_configured(host, host, lines)
            eventually(lambda: answers(self.redis(host)), "a Redis")  # noqa: B023
        replica = self.redis(REDISES[1])
        eventually(lambda: replica.info("replication")["master_link_status"] == "up", "the replica")
        for host in SENTINELS:
            lines = [f"port {SENTINEL_PORT}", f"bind {self.network.address[host]}",
                     f"sentinel monitor {SERVICE} {first} {REDIS_PORT} 2",
                     f"sentinel auth-pass {SERVICE} {PASSWORD}",
                     f"sentinel down-after-milliseconds {SERVICE} 10000",
                     f"sentinel failover-timeout {SERVICE} 5000"]  # fmt: skip
            self._start_configured(host, f"sentinel-{host}", lines, "--sentinel")
        for host in SENTINELS:
            eventually(lambda: self._knows_all(host), "a Sentinel that knows all")  # noqa: B023

    def _start_frontends(self) -> None:
        for host in FRONTENDS:
            self._start(
                host, host, [sys.executable, "-m", "run", "frontend"],
                **self._environment(), DAMOSCOPE_HOST=self.network.address[host],
                DAMOSCOPE_PORT=str(FRONTEND_PORT), DAMOSCOPE_INSECURE="true",
                DAMOSCOPE_TRUSTED_PROXIES=self.network.gateway,
                DAMOSCOPE_RATE_LIMIT="10000/second", DAMOSCOPE_SCORE_THRESHOLD="0.02",
            )  # fmt: skip
        for host in FRONTENDS:
            with self.client(host) as client:
                eventually(lambda: _is_ok(client, "/healthz"), host)

    def _start_proxy(self) -> None:
        """nginx on this machine, as docs/proxy.md has it for several frontends, without TLS."""
        port = 8443
        a, b = (self.network.address[host] for host in FRONTENDS)
        sites = replaced(
            documented("nginx", "Several frontends"),
            ("10.0.0.11:7860", f"{a}:{FRONTEND_PORT}"), ("10.0.0.12:7860", f"{b}:{FRONTEND_PORT}"),
            ("listen 443 ssl;", f"listen {self.network.gateway}:{port};"),
            ("    ssl_certificate /etc/ssl/exams.example.pem;\n", ""),
            ("    ssl_certificate_key /etc/ssl/exams.example.key;\n", ""),
            ("location = /phones {\n        return 308 /phones/;\n    }", ""),
            ("location /phones/api/", "location /api/"), ("location /phones/", "location /"),
        )  # fmt: skip
        running = nginx(self._folder / "nginx", sites)
        self._stack.callback(running.stop)
        self.url = f"http://{self.network.gateway}:{port}"
        with self.client() as client:
            eventually(lambda: _is_ok(client, "/healthz"), f"nginx: {running.output}")

    def start_worker(self, host: str) -> None:
        """One on a host; it is ready when this returns."""
        process = self._start(
            host, host, [sys.executable, "-m", "run", "worker"], **self._environment(),
            DAMOSCOPE_PROVIDER="cpu", DAMOSCOPE_THREADS="1", DAMOSCOPE_BATCH_MAX="2",
            DAMOSCOPE_KEEP_IMAGES="thumbnails",
        )  # fmt: skip
        process.wait_for("ready:")

    def _environment(self) -> dict[str, str]:
        hosts = ",".join(f"{self.network.address[host]}:{SENTINEL_PORT}" for host in SENTINELS)
        return {"REDIS_URL": f"redis+sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0"}

    # -- looking --------------------------------------------------------------------------

    def client(self, host: str = "") -> httpx.Client:
        """A client of one frontend, or of nginx, that makes a connection for each request: one that
        is kept may be closed while the next request is on its way."""
        base = f"http://{self.network.address[host]}:{FRONTEND_PORT}" if host else self.url
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(base_url=base, timeout=90, trust_env=False, limits=limits)

    def redis(self, host: str) -> Redis:
        """A client of one Redis."""
        return Redis(self.network.address[host], REDIS_PORT, password=PASSWORD, socket_timeout=5)

    def workers_at(self, host: str) -> int:
        """Workers as one frontend counts them."""
        with self.client(host) as client:
            answer = client.get("/readyz")
            return int(answer.json()["workers"]) if answer.status_code == 200 else 0

    def sentinel(self, host: str) -> dict[str, Any]:
        """What a Sentinel knows of the service."""
        with Redis(self.network.address[host], SENTINEL_PORT) as sentinel:
            found: dict[str, Any] = sentinel.sentinel_masters()[SERVICE]
            return found

    def _knows_all(self, host: str) -> bool:
        try:
            state = self.sentinel(host)
            return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)
        except (RedisError, KeyError):
            return False


def _is_ok(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False
