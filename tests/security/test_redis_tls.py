"""Redis over TLS: the server's certificate and name are checked, and ours by the server."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError

from pipeline.connection import connect, connect_async, explain
from pipeline.settings import Settings
from run import checks
from run.checks import ConfigurationError
from tests.integration import pictures
from tests.servers import ConfiguredRedis, Service, answers, eventually, free_port

PASSWORD = "tls-secret"


class Certificates:
    """An authority, a server that it vouches for, a client, and a server of nobody's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test CA",
            "-keyout", "ca.key", "-out", "ca.pem", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip
        self._signed("server", "subjectAltName=DNS:localhost")
        self._signed("client", "extendedKeyUsage=clientAuth")
        self._run(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other",
            "-keyout", "other.key", "-out", "other.pem",
        )  # fmt: skip

    def _signed(self, name: str, extension: str) -> None:
        (self.folder / f"{name}.ext").write_text(extension + "\n")
        self._run(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        self._run(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def path(self, name: str) -> str:
        return str(self.folder / name)


class SecureRedis(ConfiguredRedis):
    """Debian's Redis, which speaks TLS alone and asks clients for certificates."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.files = Certificates(folder)
        self.port = free_port()
        super().__init__(
            folder,
            "port 0",
            f"tls-port {self.port}",
            "bind 127.0.0.1",
            "save ''",
            f"tls-cert-file {self.files.path('server.pem')}",
            f"tls-key-file {self.files.path('server.key')}",
            f"tls-ca-cert-file {self.files.path('ca.pem')}",
            "tls-auth-clients yes",
            f"requirepass {PASSWORD}",
        )
        self.client = Redis.from_url(self.url())
        eventually(lambda: answers(self.client), "Redis")

    def url(self, host: str = "localhost", ca: str = "ca.pem", client: str = "client",
            scheme: str = "rediss") -> str:  # fmt: skip
        """As docs/redis.md says."""
        query = f"?ssl_ca_certs={self.files.path(ca)}"
        if client:
            query += (
                f"&ssl_certfile={self.files.path(f'{client}.pem')}"
                f"&ssl_keyfile={self.files.path(f'{client}.key')}"
            )
        query = query if scheme == "rediss" else ""
        return f"{scheme}://:{PASSWORD}@{host}:{self.port}/0{query}"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    with SecureRedis(tmp_path_factory.mktemp("tls") / "redis") as server:
        yield server


def test_the_whole_service(redis: SecureRedis, tmp_path: Path) -> None:
    """Frontend, worker, watcher and the rate limit, over one address."""
    env = {"REDIS_URL": redis.url(), "DAMOSCOPE_RATE_LIMIT": "1000/minute"}
    with Service(tmp_path / "home", **env) as service:
        service.wait_until_ready()
        service.wait_for("watching;")
        with service.client() as client:
            answer = client.post(
                "/api/v1/detect", content=pictures.jpeg(), headers={"content-type": "image/jpeg"}
            )
            assert answer.status_code == 200, service.output
            assert client.get("/api/v1/alerts").status_code == 200
        eventually(lambda: redis.client.hexists("damoscope:alerts:meta", "evaluated_at"), "rules")
        assert PASSWORD not in service.output


REFUSED = {
    "a certificate of another authority": ({"ca": "other.pem"}, "certificate is not trusted"),
    "another name": ({"host": "127.0.0.1"}, "certificate is not trusted"),
    "no certificate of ours": ({"client": ""}, "does not answer"),
    "our certificate of another authority": ({"client": "other"}, "does not answer"),
    "no TLS": ({"scheme": "redis"}, "does not answer"),
}


@pytest.mark.parametrize(("given", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_trusted(redis: SecureRedis, given: dict[str, str], sentence: str) -> None:
    """It is said at the start, without the address; no command is sent to such a server."""
    settings = Settings(redis_url=SecretStr(redis.url(**given)))
    with pytest.raises(ConfigurationError, match=f"REDIS_URL: .*{sentence}") as caught:
        checks.redis(settings)
    assert PASSWORD not in str(caught.value)
    with connect(settings) as client, pytest.raises((RedisError, OSError)):
        client.set("x", "y")
    assert not redis.client.exists("x")


def test_the_frontend_checks_as_well(redis: SecureRedis) -> None:
    """Its connections are others than a worker's."""

    async def ping(url: str) -> None:
        async with connect_async(Settings(redis_url=SecretStr(url))) as client:
            await client.ping()

    asyncio.run(ping(redis.url()))
    for given in ({"ca": "other.pem"}, {"host": "127.0.0.1"}):
        with pytest.raises((RedisError, OSError)) as caught:
            asyncio.run(ping(redis.url(**given)))
        assert explain(caught.value) == "Redis' certificate is not trusted"
