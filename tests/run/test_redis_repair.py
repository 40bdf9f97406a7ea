"""run.redis_repair: append-only files that are damaged, cut, or not all there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from run.redis_repair import COPIES, MANIFEST, complete
from run.redis_server import RedisServer
from tests.servers import Process, RedisProcess, damoscope, eventually, left_running


@pytest.fixture(params=["of the machine", "of the wheel"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose Redis has stopped: keys `0` to `999`, and `before` in the snapshot."""
    if request.param == "of the wheel":
        monkeypatch.setenv("PATH", "")
    elif shutil.which("redis-server") is None:
        pytest.skip("no redis-server on PATH")
    with RedisProcess(tmp_path) as server:
        server.client.set("before", "1")
        server.client.bgrewriteaof()
        eventually(
            lambda: not server.client.info("persistence")["aof_rewrite_in_progress"], "a snapshot"
        )
        for number in range(1000):
            server.client.set(str(number), "x" * 100)
        server.client.shutdown()
    return tmp_path


def newest(home: Path) -> Path:
    """The file that was written last."""
    found = (home / "redis" / "appendonlydir").glob("*.incr.aof")
    return max(found, key=lambda path: int(path.name.split(".")[2]))


def test_the_list_of_files_is_gone(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is written anew: Redis does not begin with nothing, and that is said."""
    (home / "redis" / "appendonlydir" / MANIFEST).unlink()
    with RedisProcess(home) as server:
        assert server.client.dbsize() == 1001
    assert "made anew from the files beside it" in caplog.text


@pytest.mark.parametrize("content", ["", "nonsense\n", "file missing.aof seq 1 type i\n"])
def test_the_list_of_files_is_damaged(home: Path, content: str) -> None:
    """The same when it is empty, no list, or of files that are not there; it is kept."""
    folder = home / "redis" / "appendonlydir"
    (folder / MANIFEST).write_text(content)
    with RedisProcess(home) as server:
        assert server.client.dbsize() == 1001
    (kept,) = folder.glob(f"{MANIFEST}.damaged-*")
    assert kept.read_text() == content


def test_which_files_count_cannot_be_told(home: Path) -> None:
    """Two snapshots and no list: it is not guessed, and what to do is said."""
    folder = home / "redis" / "appendonlydir"
    (base,) = folder.glob("*.base.rdb")
    shutil.copy(base, folder / "appendonly.aof.99.base.rdb")
    (folder / MANIFEST).unlink()
    with pytest.raises(ConfigurationError, match="cannot be told: put it back from a copy"):
        RedisServer(home).command()


def test_all_files_are_gone(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody began anew, or lost them: said, as it is not the first start."""
    shutil.rmtree(home / "redis" / "appendonlydir")
    with RedisProcess(home) as server:
        assert server.client.dbsize() == 0
    assert "it begins with nothing" in caplog.text
    assert complete(home / "another") == ""


def test_the_end_is_cut(home: Path) -> None:
    """All but the last write is there: Redis says so in its log."""
    os.truncate(newest(home), newest(home).stat().st_size - 20)
    with RedisProcess(home) as server:
        assert server.client.dbsize() == 1000


def test_damage_in_the_middle(home: Path) -> None:
    """What came before the damage is there, what is lost is told in bytes, and copies are kept:
    a few."""
    file = newest(home)
    for _ in range(COPIES + 1):
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.seek(size // 2)
            opened.write(b"\xff" * 500)
        server = RedisServer(home)
        with Process(server.command(), home) as process:
            assert process.wait() != 0, "Redis starts on it: nothing is to be repaired"
        said = server.repair()
        lost = size - file.stat().st_size
        assert 0 < lost <= size // 2 + 200
        assert f"{lost} of its " in said
        assert server.repair() == "", "it is sound now"
        with RedisProcess(home) as running:
            keys = running.client.dbsize()
            assert running.client.get("before") == b"1"
            assert 1 < keys < 1000
            running.client.shutdown()
    assert len(list((home / "redis").glob("appendonlydir.damaged-*"))) == COPIES


def test_what_cannot_be_repaired(home: Path) -> None:
    """A snapshot that is damaged: `damoscope up` says what to do, and leaves nothing running."""
    folder = home / "redis" / "appendonlydir"
    (base,) = folder.glob("*.base.rdb")
    base.write_bytes(b"nonsense" * 100)
    answer = damoscope("up", folder=home, DAMOSCOPE_HOME=str(home))
    assert answer.returncode == 2, answer.stderr
    assert f"put {folder} back from a copy" in answer.stderr
    assert not left_running(home)
