"""The chart's Valkey, started by the chart's own script and files, on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from run.redis_server import RedisServer
from tests.paths import ROOT
from tests.servers import Process, answers, eventually, free_port

FILES = ROOT / "deploy" / "helm" / "damoscope" / "files"
USERS = ("admin", "frontend", "worker", "watcher", "reader")


def variables(folder: Path, port: int, **given: str) -> dict[str, str]:
    """What the chart gives the container, for a server of this machine."""
    server = RedisServer(folder).command()[0]
    return {
        "VALKEY_SERVER": server, "VALKEY_FILES": str(FILES),
        "VALKEY_USERS": str(folder / "users.conf"), "REDIS_DIR": str(folder),
        "REDIS_BIND": "127.0.0.1", "REDIS_PORT": str(port), "REDIS_MAXMEMORY": "100mb",
        "REDISCLI_AUTH": "x", **{f"{user.upper()}_PASSWORD": f"of-{user}_1" for user in USERS},
    } | given  # fmt: skip


def test_each_part_has_a_user_of_its_own(tmp_path: Path) -> None:
    """With its own password and rights; nobody gets in without one, and no password is in an
    argument or the server's environment."""
    port = free_port()
    env = variables(tmp_path, port)
    if (
        "redis-server" in env["VALKEY_SERVER"]
    ):  # older than the command by which clients say who they are
        text = (FILES / "users.conf").read_text().replace(" +client|setinfo", "")
        env["VALKEY_FILES"] = str(tmp_path / "files")
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "users.conf").write_text(text)
        (tmp_path / "files" / "redis.conf").write_text((FILES / "redis.conf").read_text())
    with Process(["sh", str(FILES / "valkey-start.sh")], tmp_path, env) as process:
        clients = {user: Redis(port=port, username=user, password=f"of-{user}_1") for user in USERS}
        eventually(lambda: answers(clients["admin"]) or not process.running, "Valkey")
        assert process.running, process.output
        assert all(client.ping() for client in clients.values())
        assert clients["admin"].config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with pytest.raises(NoPermissionError):
            clients["worker"].get("damoscope:alerts:x")
        assert clients["reader"].llen("rq:queue:detections") == 0
        with pytest.raises(AuthenticationError), Redis(port=port) as nobody:
            nobody.ping()
        for one in process.family():
            assert "of-worker_1" not in " ".join([*one.cmdline(), *one.environ().values()])
        for client in clients.values():
            client.close()


def test_a_password_that_an_address_could_not_hold(tmp_path: Path) -> None:
    """Ends the start with a line that says whose; the server is not begun."""
    env = variables(tmp_path, free_port(), WORKER_PASSWORD="a/b@c")
    done = subprocess.run(
        ["sh", str(FILES / "valkey-start.sh")], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "the password of WORKER" in done.stderr
