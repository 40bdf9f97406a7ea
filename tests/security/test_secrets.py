"""Secrets are where they are needed and nowhere else, whatever goes wrong.

A service runs on a Redis whose password has every character that addresses give a meaning to. Then
everything that it says, writes, answers and shows of itself is searched for parts of the secrets.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from pydantic import SecretStr
from redis import Redis
from redis import exceptions as refusals
from redis.exceptions import RedisError

from pipeline.connection import connect, connect_async, explain, secrets
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from telemetry import logs
from tests.integration import pictures
from tests.servers import ConfiguredRedis, Service, answers, damoscope, eventually, free_port

#: Found wherever a part of a secret is.
MARK = "GEHEIM7x"
PASSWORD = f"a@b:c/d#e?f%g&h=i {MARK} ü'\"\\"
NOTIFY = f"json://user:notify{MARK}@127.0.0.1:1/"
WEBHOOK = f"webhook{MARK}"


class GuardedRedis(ConfiguredRedis):
    """A Redis with that password, which its command line does not hold."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        super().__init__(
            folder, f"port {self.port}", "bind 127.0.0.1", f'requirepass "{quoted}"', 'save ""'
        )
        self.url = f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url)
        eventually(lambda: answers(self.client), "Redis")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedis]:
    with GuardedRedis(tmp_path_factory.mktemp("guarded") / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, redis: GuardedRedis) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("secrets") / "home"
    env = {
        "REDIS_URL": redis.url,
        "DAMOSCOPE_NOTIFY": NOTIFY,
        "DAMOSCOPE_WEBHOOK_TOKEN": WEBHOOK,
        "DAMOSCOPE_RATE_LIMIT": "10000/minute",
        "DAMOSCOPE_LOG_LEVEL": "debug",
        "AWS_SECRET_ACCESS_KEY": f"aws{MARK}",
    }
    with Service(home, **env) as running:
        running.wait_until_ready()
        running.wait_for("watching; notifications go to json")
        yield running


def environ(process: psutil.Process) -> dict[str, str]:
    return {name: value for name, value in process.environ().items() if MARK in value}


def test_each_process_has_the_secrets_that_it_needs(service: Service) -> None:
    """As `/proc` tells, which is what somebody reads who has broken into one of them."""
    (worker,) = service.children("worker")
    (watcher,) = service.children("watcher")
    (frontend,) = service.children("frontend")
    redis_url = {"REDIS_URL", "DAMOSCOPE_REDIS_URL"}
    assert environ(worker).keys() == redis_url
    assert environ(watcher).keys() == redis_url | {"DAMOSCOPE_NOTIFY"}
    assert environ(frontend).keys() == redis_url | {"DAMOSCOPE_NOTIFY", "DAMOSCOPE_WEBHOOK_TOKEN"}
    assert "DAMOSCOPE_MODEL" in worker.environ()


def test_a_redis_of_our_own_has_none(tmp_path: Path) -> None:
    """Nor any setting of ours."""
    env = {"DAMOSCOPE_NOTIFY": NOTIFY, "DAMOSCOPE_WEBHOOK_TOKEN": WEBHOOK}
    with Service(tmp_path / "home", **env) as service:
        service.wait_for("starting 1 worker(s)")
        (server,) = [
            process for process in psutil.Process(service.pid).children()
            if "redis" in process.name() or "valkey" in process.name()
        ]  # fmt: skip
        assert environ(server) == {}
        assert not [name for name in server.environ() if name.startswith(("DAMOSCOPE_", "OTEL_"))]


def test_nothing_says_a_secret(service: Service, redis: GuardedRedis) -> None:
    """Output at the level `debug`, files, answers, pages, command lines: while all is well, with a
    password that has changed, and without Redis."""
    image = pictures.jpeg()
    answers: list[str] = []

    def ask() -> int:
        with service.client() as client:
            sent = client.post(
                "/api/v1/detect", content=image, headers={"content-type": "image/jpeg"}
            )
            answers.append(sent.text)
            for path in (
                "/", "/readyz", "/healthz", "/openapi.json", "/docs", "/api/v1/stats",
                "/api/v1/traces", "/api/v1/alerts", "/api/v1/report", "/api/v1/jobs/none",
                "/monitor", "/traces", "/config", "/none",
            ):  # fmt: skip
                answer = client.get(path, follow_redirects=True)
                answers.append(f"{answer.headers}{answer.text}")
            if trace := sent.headers.get("x-trace-id"):
                answers.append(client.get(f"/api/v1/traces/{trace}").text)
            return sent.status_code

    assert ask() == 200
    redis.client.config_set("requirepass", "another")
    for client in redis.client.client_list():
        if client["id"] != str(redis.client.client_id()):
            with suppress(RedisError):
                redis.client.client_kill_filter(_id=client["id"])
    eventually(lambda: ask() == 503, "Redis to refuse us")
    assert "Redis refuses our user or password" in answers[0] + "".join(answers)
    redis.stop()
    eventually(lambda: ask() == 503, "Redis to be away")
    service.wait_for("Redis does not answer")
    for answer in answers:
        assert MARK not in answer
        # Nor any text of Redis' own: commands, keys, addresses.
        for text in (str(redis.port), "WRONGPASS", "NOAUTH", "Connection refused", "Errno"):
            assert text not in answer, answer
    assert MARK not in service.output
    for path in service.home.rglob("*"):
        if path.is_file():
            assert MARK.encode() not in path.read_bytes(), path
    for process in service.family():
        with suppress(psutil.NoSuchProcess):
            assert MARK not in " ".join(process.cmdline())


#: Addresses that somebody wrote with a password as it is, and others that cannot be.
MISTAKEN = [
    f"redis://:pass/{MARK}@127.0.0.1:1/0",
    f"redis://:{MARK}/word@127.0.0.1:1/0",
    f"redis://:1234/{MARK}@127.0.0.1:1/0",
    f"redis://:pass#{MARK}@127.0.0.1:1/0",
    f"redis://:pass?{MARK}@127.0.0.1:1/0",
    f"redis://user:{MARK}[@127.0.0.1:1/0",
    f"redis://:x@127.0.0.1:{MARK}/0",
    f"http://:{MARK}@127.0.0.1:1/0",
    f"{MARK}",
    f":{MARK}@127.0.0.1",
    f"rediss://:{MARK}@127.0.0.1:1/0?ssl_cert_reqs={MARK}",
    f"redis://127.0.0.1:1/0?password={MARK}&db=x",
    f"unix:///tmp/none.sock?password={MARK}&timeout={MARK}",
    f"redis://:%zz/{MARK}@127.0.0.1:1/0",
]


@pytest.mark.parametrize("url", MISTAKEN)
def test_addresses_that_cannot_be(url: str) -> None:
    """They are refused, or not reached, in words that repeat nothing of them."""
    settings = Settings(redis_url=SecretStr(url))
    assert MARK not in repr(settings)
    assert MARK not in str(settings)

    def ping() -> None:
        connect_async(settings)
        with connect(settings) as client:
            client.ping()

    with pytest.raises((ConfigurationError, RedisError, OSError, TypeError)) as caught:
        ping()
    if caught.errisinstance(ConfigurationError):
        assert MARK not in str(caught.value)
        assert "REDIS_URL" in str(caught.value)
        assert caught.value.__cause__ is None
    else:
        assert MARK not in explain(caught.value)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("url", [*MISTAKEN, f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:1"])
def test_lines_of_others(url: str, form: logs.Form) -> None:
    """A library that logs the address, in a line or in a traceback, logs no password."""
    if "@" not in url and "password=" not in url:
        pytest.skip("nothing in it says that it is a password")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter((logs.JsonLine if form == "json" else logs.TextLine)(secrets(url)))
    logger = logging.Logger("library")
    logger.addHandler(handler)
    password = PASSWORD if MARK not in url.replace(quote(PASSWORD, safe=""), "") else MARK
    try:
        raise ValueError(f"cannot connect to {url} with {password}")
    except ValueError:
        logger.exception("%s failed", url)
    line = json.loads(written.getvalue()) if form == "json" else written.getvalue()
    hidden = url.partition(MARK)[0].endswith(("127.0.0.1:", "timeout=", "cert_reqs="))
    assert hidden or MARK not in str(line).replace(f"ssl_cert_reqs={MARK}", "").replace(
        f"timeout={MARK}", ""
    )


@pytest.mark.parametrize("url", [MISTAKEN[0], MISTAKEN[2], f"redis://:{MARK}@127.0.0.1:1/0"])
@pytest.mark.parametrize("command", ["report", "up"])
def test_commands_say_nothing_of_it(tmp_path: Path, command: str, url: str) -> None:
    """Neither the line that says what is wrong nor a traceback."""
    options = ["-o", str(tmp_path / "report.json")] if command == "report" else []
    port = str(free_port())
    said = damoscope(command, *options, folder=tmp_path, REDIS_URL=url, DAMOSCOPE_PORT=port)
    assert MARK not in said.stdout + said.stderr
    assert "Traceback" not in said.stderr
    if command == "up":
        assert said.returncode == 2
        assert "REDIS_URL: " in said.stderr


def test_what_is_wrong_with_redis() -> None:
    """In words of ours, for each of its refusals."""
    for error, sentence in {
        refusals.ResponseError("NOAUTH Authentication required."): "refuses our user",
        refusals.ResponseError("WRONGPASS invalid"): "refuses our user",
        refusals.NoPermissionError(f"User x has no permissions to run '{MARK}'"): "let our user",
        refusals.OutOfMemoryError("command not allowed"): "is full",
        refusals.ReadOnlyError("You can't write"): "takes no writes",
        refusals.BusyLoadingError("loading"): "is loading",
        refusals.ConnectionError(f"Error 111 connecting to {MARK}"): "does not answer",
        refusals.TimeoutError("Timeout"): "does not answer",
        refusals.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED]"): "certificate",
        refusals.ResponseError(f"unknown command 'x', with args {MARK}"): "refuses a command",
    }.items():
        assert sentence in explain(error)
        assert MARK not in explain(error)
