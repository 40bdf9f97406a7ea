"""Redis over TLS: the server's certificate and name are checked, and ours by the server."""

from __future__ import annotations

import asyncio
import shutil
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
from tests.servers import ConfiguredRedis, Process, Service, answers, eventually, free_port

PASSWORD, THEIRS = "tls-secret", "tls-secret-of-the-sentinel"


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


class SecureSentinel(Process):
    """Watches the Redis of above, and speaks TLS alone, to it and to who asks."""

    def __init__(self, folder: Path, redis: SecureRedis) -> None:
        folder.mkdir(parents=True)
        self.redis, self.port = redis, free_port()
        lines = [
            "port 0", f"tls-port {self.port}", "bind 127.0.0.1", f"dir {folder}",
            "tls-replication yes", "tls-auth-clients yes",
            f"tls-cert-file {redis.files.path('server.pem')}",
            f"tls-key-file {redis.files.path('server.key')}",
            f"tls-ca-cert-file {redis.files.path('ca.pem')}",
            # By its name, which the certificate is made out to.
            "sentinel resolve-hostnames yes", "sentinel announce-hostnames yes",
            f"sentinel monitor images localhost {redis.port} 1",
            f"sentinel auth-pass images {PASSWORD}", f"requirepass {THEIRS}",
        ]  # fmt: skip
        (folder / "sentinel.conf").write_text("\n".join([*lines, ""]))
        binary = shutil.which("redis-server")
        assert binary, "the Debian package redis-server is missing"
        super().__init__([binary, str(folder / "sentinel.conf"), "--sentinel"], folder)

    def url(self, ca: str = "ca.pem", client: str = "client") -> str:
        """As docs/redis.md says: the options are for Redis and the Sentinels."""
        query = self.redis.url(ca=ca, client=client).partition("?")[2]
        return (
            f"rediss+sentinel://:{PASSWORD}@localhost:{self.port}/images/0"
            f"?sentinel_password={THEIRS}&{query}"
        )


@pytest.fixture(scope="module")
def sentinel(
    redis: SecureRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecureSentinel]:
    with SecureSentinel(tmp_path_factory.mktemp("sentinel") / "one", redis) as started:
        settings = Settings(redis_url=SecretStr(started.url()))

        def knows() -> bool:
            with connect(settings) as client:
                return answers(client)

        started.until(knows, "the Sentinel to tell where Redis is")
        yield started


def both(url: str, key: str) -> None:
    """Write by a worker's kind of connection, and by a frontend's."""
    settings = Settings(redis_url=SecretStr(url))

    async def write() -> None:
        async with connect_async(settings) as client:
            await client.incr(key)

    asyncio.run(write())
    with connect(settings) as client:
        client.incr(key)


def test_behind_a_sentinel(redis: SecureRedis, sentinel: SecureSentinel) -> None:
    """Both are asked over TLS, with our certificate, which either asks for."""
    both(sentinel.url(), "asked")
    assert redis.client.get("asked") == b"2"


@pytest.mark.parametrize("given", [{"ca": "other.pem"}, {"client": ""}, {"client": "other"}])
def test_a_sentinel_that_is_not_trusted(
    redis: SecureRedis, sentinel: SecureSentinel, given: dict[str, str]
) -> None:
    """No Sentinel that another authority vouches for is believed, and none answers who has no
    certificate; nothing comes to Redis."""
    settings = Settings(redis_url=SecretStr(sentinel.url(**given)))
    with connect(settings) as client, pytest.raises((RedisError, OSError)) as caught:
        client.set("through", "y")
    assert explain(caught.value) == "no Sentinel answers"
    with pytest.raises((RedisError, OSError)):
        both(sentinel.url(**given), "through")
    assert not redis.client.exists("through")
