"""run.redis_files: whose files are in a folder, and who can read them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from run.redis_files import Version, record, writer
from run.redis_server import find_binary
from tests.servers import RedisProcess

OLD_FILE = Path(__file__).parent / "data" / "redis-6.2.aof"


@pytest.mark.parametrize(
    ("server", "writer", "reads"),
    [
        (("Redis", 7, 0), ("Redis", 7, 0), True),
        (("Redis", 7, 4), ("Redis", 6, 2), True),
        (("Redis", 6, 2), ("Redis", 7, 0), False),
        (("Valkey", 9, 1), ("Redis", 6, 2), True),
        (("Valkey", 9, 1), ("Redis", 7, 2), True),
        (("Valkey", 9, 1), ("Redis", 7, 4), False),
        (("Valkey", 9, 1), ("Valkey", 8, 1), True),
        (("Valkey", 8, 1), ("Valkey", 9, 0), False),
        (("Redis", 8, 2), ("Valkey", 9, 0), False),
    ],
)
def test_who_reads_what(
    server: tuple[str, int, int], writer: tuple[str, int, int], reads: bool
) -> None:
    """A server reads what older ones of its kind wrote, and Valkey what Redis up to 7.2 did."""
    assert Version(*server).reads(Version(*writer)) is reads


def test_an_empty_folder(tmp_path: Path) -> None:
    """Where nothing is stored there is no writer, whatever was recorded."""
    record(tmp_path, Version("Valkey", 9, 1))
    assert writer(tmp_path) is None
    assert writer(tmp_path / "missing") is None


def test_the_server_that_started_last_is_recorded(tmp_path: Path) -> None:
    """What `damoscope up` starts is noted beside its files; they say the same themselves."""
    with RedisProcess(tmp_path):
        pass
    started = find_binary(tmp_path / "elsewhere")[1]
    assert writer(tmp_path / "redis") == started
    (tmp_path / "redis" / "server.json").write_text("{")
    assert writer(tmp_path / "redis") == started, "from the header of the snapshot"


def test_files_without_a_record(tmp_path: Path) -> None:
    """Files from before there was a record: by their header, else by their shape."""
    shutil.copy(OLD_FILE, tmp_path / "appendonly.aof")
    assert writer(tmp_path) == Version("Redis", 6, 2)
    (tmp_path / "appendonly.aof").write_bytes(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")
    assert writer(tmp_path) == Version("Redis", 6, 2)
    (tmp_path / "appendonly.aof").unlink()
    (tmp_path / "appendonlydir").mkdir()
    assert writer(tmp_path) == Version("Redis", 7, 0)


def test_two_histories(tmp_path: Path) -> None:
    """An old server's file beside a newer one's folder: neither is dropped unasked."""
    shutil.copy(OLD_FILE, tmp_path / "appendonly.aof")
    (tmp_path / "appendonlydir").mkdir()
    with pytest.raises(ConfigurationError, match="two histories"):
        writer(tmp_path)
