"""models.download: only the file that is meant, in parts where need be, and clear errors."""

from __future__ import annotations

import fcntl
import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.download import Limits, check_file, fetch, git_blob_of
from models.errors import ModelStoreError
from tests.models import file_server
from tests.models.file_server import FileServer, Handler

CONTENT = random.Random(7).randbytes(3_000_000)
BLOB = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"
#: Short, so that a test ends; each still bears a machine that stands still for a while.
QUICK = Limits(connect_s=20, silent_s=20, pause_s=0.01, tries=3)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(CONTENT) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models" / "file.onnx"


def ignore(done: int, total: int | None) -> None:
    pass


def part(file: Path) -> Path:
    return file.with_name("file.onnx.part")


def refused(server: FileServer, file: Path, limits: Limits = QUICK) -> str:
    with pytest.raises(ModelStoreError) as caught:
        fetch(f"{server.url}/a/b.onnx", file, BLOB, ignore, limits)
    assert not file.exists()
    return str(caught.value)


def test_a_file_comes(server: FileServer, file: Path) -> None:
    """It is there, whole, and its progress was told."""
    seen: list[tuple[int, int | None]] = []
    fetch(f"{server.url}/a", file, BLOB, lambda *told: seen.append(told), QUICK)
    assert file.read_bytes() == CONTENT
    assert not part(file).exists()
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert git_blob_of(file) == BLOB


def test_it_goes_on_after_breaks(server: FileServer, file: Path) -> None:
    """A connection that ends early is made again, from where it ended."""
    cut = file_server.broken_off(1_000_000)

    def twice(handler: Handler) -> None:
        (cut if len(server.ranges) < 3 else file_server.usual)(handler)

    server.behave = twice
    fetch(f"{server.url}/a", file, BLOB, ignore, QUICK)
    assert file.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-", "bytes=2000000-"]


def test_truncated(server: FileServer, file: Path) -> None:
    """One that always ends early is given up; what has come serves the next try."""
    server.behave = file_server.broken_off(500_000)
    said = refused(server, file)
    assert "Run it again, which goes on where it ended" in said
    assert part(file).stat().st_size == 1_500_000
    server.behave = None
    fetch(f"{server.url}/a", file, BLOB, ignore, QUICK)
    assert file.read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=1500000-"


def test_interrupted(server: FileServer, file: Path) -> None:
    """Ctrl-C leaves what has come, and the next try goes on."""

    def stop(done: int, total: int | None) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server.url}/a", file, BLOB, stop, QUICK)
    there = part(file).stat().st_size
    assert 1_000_000 < there <= len(CONTENT)
    fetch(f"{server.url}/a", file, BLOB, ignore, QUICK)
    assert file.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={there}-"


def test_all_has_come_before(server: FileServer, file: Path) -> None:
    """A try that ended at the last byte is not done again."""
    part(file).parent.mkdir()
    part(file).write_bytes(CONTENT)
    fetch(f"{server.url}/a", file, BLOB, ignore, QUICK)
    assert file.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_server_that_knows_no_parts(server: FileServer, file: Path) -> None:
    """It sends the whole again, which is taken as such."""
    part(file).parent.mkdir()
    part(file).write_bytes(CONTENT[:1000])
    server.behave = file_server.text(CONTENT)
    fetch(f"{server.url}/a", file, BLOB, ignore, QUICK)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [100, len(CONTENT) + 5])
def test_what_is_there_is_of_another_file(server: FileServer, file: Path, size: int) -> None:
    """What has come is thrown away at the latest when the whole is not what is meant."""
    part(file).parent.mkdir()
    part(file).write_bytes(b"x" * size)
    try:
        fetch(f"{server.url}/a", file, BLOB, ignore, QUICK)
    except ModelStoreError:
        fetch(f"{server.url}/a", file, BLOB, ignore, QUICK)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("behave", "says"),
    [
        (file_server.status(404), "the server answers 404 Not Found"),
        (file_server.status(403), "the server answers 403 Forbidden"),
        (file_server.status(503), "the server answers 503 Service Unavailable. Run it again"),
        (file_server.text(b"other" * 1000), "is not the file that is meant"),
        (file_server.text(CONTENT[:-1] + b"x"), "is not the file that is meant"),
        (file_server.text(b""), "is not the file that is meant"),
        (file_server.text(POINTER), "this is a pointer of Git LFS"),
        (file_server.text(b"\n<!DOCTYPE html><p>hello"), "a web page came in place of the file"),
        (file_server.leads_to("/login"), "/login: a web page came in place of the file"),
        (file_server.leads_round, "it leads on more than 5 times"),
    ],
    ids=["404", "403", "503", "other bytes", "one bit", "nothing", "LFS", "page", "login", "round"],
)
def test_what_is_not_the_file(
    server: FileServer, file: Path, behave: Callable[[Handler], None], says: str
) -> None:
    """Each is named; nothing of it is kept, and the next try begins anew."""
    server.behave = behave
    assert says in refused(server, file)
    assert part(file).stat().st_size == 0
    server.behave = None
    fetch(f"{server.url}/a", file, BLOB, ignore, QUICK)
    assert file.read_bytes() == CONTENT


def test_a_server_that_falls_silent(server: FileServer, file: Path) -> None:
    """Is left after the seconds without a byte."""
    server.behave = file_server.silent
    said = refused(server, file, Limits(silent_s=0.3, tries=2, pause_s=0.01))
    assert "it sends nothing for too long. Run it again" in said


def test_a_server_that_trickles(server: FileServer, file: Path) -> None:
    """Is left after the seconds that the whole may take, though it is never silent."""
    server.behave = file_server.trickling
    assert "it took longer than 0.5 s" in refused(server, file, Limits(whole_s=0.5))


def test_nobody_listens(file: Path) -> None:
    """A server that is not there is named, with what might help."""
    with FileServer(CONTENT) as server:
        gone = server.url
    with pytest.raises(ModelStoreError, match=r"nobody listens there\. Run it again") as caught:
        fetch(f"{gone}/a", file, BLOB, ignore, QUICK)
    assert "DAMOSCOPE_MODEL_MIRROR" in str(caught.value)


def test_through_a_proxy(server: FileServer, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is asked, by the whole address; one that is away is named."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    fetch("http://models.example/a/b.onnx", file, BLOB, ignore, QUICK)
    assert server.paths == ["http://models.example/a/b.onnx"]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    file.unlink()
    with pytest.raises(ModelStoreError, match=r"the proxy .* cannot be used"):
        fetch("http://models.example/a", file, BLOB, ignore, QUICK)


def test_the_disk_is_full(server: FileServer, file: Path) -> None:
    """Is said; nothing is taken for the file."""
    part(file).parent.mkdir()
    part(file).symlink_to("/dev/full")
    assert "the disk is full; make room" in refused(server, file)


def test_a_folder_that_cannot_be_written(server: FileServer, tmp_path: Path) -> None:
    """Is said."""
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(ModelStoreError, match="cannot be written: File exists"):
        fetch(f"{server.url}/a", tmp_path / "models" / "a", BLOB, ignore, QUICK)


def test_two_at_once(server: FileServer, file: Path) -> None:
    """The second is told of the first."""
    part(file).parent.mkdir()
    with part(file).open("ab") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        assert "another command fetches it" in refused(server, file)


def test_too_large(server: FileServer, file: Path) -> None:
    """More than an ONNX file can have is not even begun."""
    server.behave = lambda handler: handler.answer(200, Content_Length=str(2**31))
    assert "more than any ONNX file" in refused(server, file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"other", "is not the file that is meant"),
        (POINTER, "pointer of Git LFS"),
        (b"<html>", "a web page"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_was_had_otherwise(tmp_path: Path, content: Any, says: str) -> None:
    """Is held to the same."""
    file = tmp_path / "a.onnx"
    file.write_bytes(CONTENT)
    check_file(file, BLOB)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelStoreError, match=says):
        check_file(file, BLOB)
