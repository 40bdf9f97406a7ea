"""A Redis, its replica, and three Sentinels that watch them: all real."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from tests.servers import ConfiguredRedis, Process, answers, eventually, free_port

SERVICE = "images"
PASSWORD, SENTINELS_PASSWORD = "the-password-of-redis", "the-password-of-sentinels"


class Sentinel(Process):
    """One Sentinel; it writes to its configuration file."""

    def __init__(self, folder: Path, port: int, master_port: int) -> None:
        folder.mkdir(parents=True)
        lines = [
            f"port {port}", "bind 127.0.0.1", f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {master_port} 2",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} 2000",
            f"sentinel failover-timeout {SERVICE} 5000",
            f"requirepass {SENTINELS_PASSWORD}", f"sentinel sentinel-pass {SENTINELS_PASSWORD}",
        ]  # fmt: skip
        (folder / "sentinel.conf").write_text("\n".join([*lines, ""]))
        binary = shutil.which("redis-server")
        assert binary, "the Debian package redis-server is missing"
        super().__init__([binary, str(folder / "sentinel.conf"), "--sentinel"], folder)


class Sentinels:
    """All of them, from when each Sentinel knows the replica and the other Sentinels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.redis_ports = [free_port() for _ in range(2)]
        self.ports = [free_port() for _ in range(3)]
        first = self.redis_ports[0]
        self.servers = {
            port: self._stack.enter_context(
                ConfiguredRedis(
                    self._folder / f"redis-{number}", f"port {port}", "bind 127.0.0.1",
                    f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", "save \"\"",
                    "repl-diskless-sync-delay 0",
                    *([f"replicaof 127.0.0.1 {first}"] if number else []),
                )
            )
            for number, port in enumerate(self.redis_ports)
        }  # fmt: skip
        for port in self.redis_ports:
            eventually(lambda: answers(self.redis(port)), "a Redis")  # noqa: B023
        link = self.redis(self.redis_ports[1])
        eventually(lambda: link.info("replication")["master_link_status"] == "up", "the replica")
        for number, port in enumerate(self.ports):
            folder = self._folder / f"sentinel-{number}"
            self._stack.enter_context(Sentinel(folder, port, first))
        for port in self.ports:
            eventually(lambda: self._knows_all(port), "a Sentinel that knows all")  # noqa: B023

    def redis(self, port: int) -> Redis:
        """A client of one Redis."""
        return Redis(host="127.0.0.1", port=port, password=PASSWORD)

    def url(self, password: str = PASSWORD, theirs: str = SENTINELS_PASSWORD,
            service: str = SERVICE) -> str:  # fmt: skip
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://:{password}@{hosts}/{service}/0?sentinel_password={theirs}"

    def _knows_all(self, port: int) -> bool:
        sentinel = Redis(host="127.0.0.1", port=port, password=SENTINELS_PASSWORD)
        try:
            state = sentinel.sentinel_masters()[SERVICE]
            return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)
        except (RedisError, KeyError):
            return False
        finally:
            sentinel.close()
