"""frontend.pages.uploads: what is kept, for whom, and for how long."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from opentelemetry.context import Context

from frontend.pages.uploads import GONE, Upload, Uploads, gone
from pipeline.errors import DamoscopeError, InvalidImage, RateLimited, Unavailable

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def uploads(folder: Path, **limits: Any) -> Uploads:
    """Room for 400 bytes, 100 of each client."""
    return Uploads(folder, **({"bytes_most": 400, "reserve_bytes": 0} | limits))


def stored(
    kept: Uploads, size: int, *, client: str = "a", owner: str = "me", ran: bool = False
) -> Upload:
    """An upload that is complete."""
    upload = Upload(owner, client, "x.jpg", first_byte_ns=7)
    kept.begin(upload)
    run(kept.write(upload, bytes(size)))
    kept.complete(upload)
    if ran:
        upload.arrival()
    return upload


def test_an_upload_is_its_owners(tmp_path: Path) -> None:
    """Its sender finds it by its id; nobody else does, nor by an id that was never given."""
    kept = uploads(tmp_path / "new" / "folder")
    upload = stored(kept, 10)
    assert kept.find(upload.id, "me") is upload
    assert [kept.find(upload.id, "other"), kept.find(upload.id, ""), kept.find("0" * 32, "me")] == [
        None, None, None,
    ]  # fmt: skip
    assert run(upload.read()) == bytes(10)
    assert upload.path is not None
    assert upload.path.name == upload.id
    assert [upload.path.stat().st_mode & 0o777, upload.path.parent.stat().st_mode & 0o777] == [
        0o600, 0o700,
    ]  # fmt: skip


def test_one_that_is_on_its_way_is_not_there(tmp_path: Path) -> None:
    """Until its last byte has come, an upload cannot be used."""
    kept = uploads(tmp_path)
    upload = Upload("me", "a", "x.jpg")
    kept.begin(upload)
    run(kept.write(upload, b"half"))
    assert kept.find(upload.id, "me") is None


def test_the_beginning_of_a_trace(tmp_path: Path) -> None:
    """The first run soon after the upload continues it; a second or a late one begins anew."""
    kept, parent = uploads(tmp_path), Context({"a": "parent"})
    upload, late = stored(kept, 1), stored(kept, 1)
    upload.parent, late.stored_s = parent, time.monotonic() - 60
    assert upload.arrival() == (7, parent)
    for again in (upload, late):
        began_ns, continues = again.arrival()
        assert began_ns > 7
        assert continues == Context()


def test_what_is_too_much_for_one_client(tmp_path: Path) -> None:
    """Its own images that were run make room, the one not used for longest first; another's never
    do. Where none can, the upload has the reason, and no file."""
    kept = uploads(tmp_path)
    other = stored(kept, 90, client="b", ran=True)
    older, newer = stored(kept, 40, ran=True), stored(kept, 40, ran=True)
    stored(kept, 50)
    assert kept.find(older.id, "me") is None
    assert kept.find(newer.id, "me") is newer
    with kept.holding(newer):  # it is being detected on
        refused = stored(kept, 60)
    assert isinstance(refused.error, RateLimited)
    with pytest.raises(RateLimited, match="more than 100 bytes"):
        run(refused.read())
    assert kept.find(newer.id, "me") is newer
    assert kept.find(other.id, "me") is other
    assert not (tmp_path / refused.id).exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 90 + 40 + 50


def test_what_is_too_much_for_all(tmp_path: Path) -> None:
    """Nobody's images that are still to be run are dropped for another's."""
    kept = uploads(tmp_path)
    first, *_ = [stored(kept, 100, client=client) for client in "abcd"]
    assert isinstance(stored(kept, 1, client="e").error, Unavailable)
    first.arrival()
    assert stored(kept, 1, client="e").error is None  # in place of the one that was run
    assert kept.find(first.id, "me") is None


def test_how_many_there_may_be(tmp_path: Path) -> None:
    """Uploads without a byte are counted too."""
    kept = uploads(tmp_path, files_each=3, files_most=5)
    for _ in range(3):
        stored(kept, 0)
    with pytest.raises(RateLimited, match="3 images"):
        kept.begin(Upload("me", "a", "x"))
    for _ in range(2):
        stored(kept, 0, client="b", ran=True)
    with pytest.raises(Unavailable):
        kept.begin(Upload("me", "c", "x"))


@pytest.mark.parametrize("case", ["full", "not a folder"])
def test_a_disk_that_takes_nothing(tmp_path: Path, case: str) -> None:
    """A full disk, or one that fails, is a clear error of the upload."""
    (tmp_path / "file").touch()
    full = uploads(tmp_path, reserve_bytes=2**62)
    broken = uploads(tmp_path / "file" / "uploads")
    error = stored(full if case == "full" else broken, 10).error
    assert isinstance(error, Unavailable)
    assert ("disk is full" if case == "full" else "cannot be stored") in str(error)
    assert str(tmp_path) not in str(error)


async def swept(kept: Uploads, seconds: float) -> None:
    sweep = asyncio.create_task(kept.sweep())
    await asyncio.sleep(seconds)
    sweep.cancel()


def test_what_was_used_is_deleted(tmp_path: Path) -> None:
    """Minutes after its last use, unless it is in use; sooner what was never used. A result that
    refers to it says so."""
    kept = uploads(tmp_path, keep_s=0.05, unused_s=0.05)
    used, unused, busy = stored(kept, 5, ran=True), stored(kept, 5), stored(kept, 5, ran=True)

    async def wait() -> None:
        with kept.holding(busy):
            while used.path and (used.path.exists() or (tmp_path / unused.id).exists()):
                await swept(kept, 0.2)

    run(asyncio.wait_for(wait(), 60))
    assert [kept.find(each.id, "me") for each in (used, unused, busy)] == [None, None, busy]
    with pytest.raises(InvalidImage, match="kept no longer"):
        run(used.read())
    kept.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left(tmp_path: Path) -> None:
    """Old files in the folder are deleted at the start, also those of releases that had folders;
    nothing is followed to elsewhere, and what is new stays: another process may use it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    folder = tmp_path / "uploads"
    (folder / "old-release").mkdir(parents=True)
    (folder / "old-release" / "a.jpg").touch()
    (folder / "old").touch()
    (folder / "link").symlink_to(elsewhere)
    for name in ("old-release", "old", "link"):
        os.utime(folder / name, (1, 1), follow_symlinks=False)
    (folder / "new").touch()
    run(swept(uploads(folder), 0.5))
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert elsewhere.exists()


def test_what_stands_for_one_that_is_gone() -> None:
    """It says so when it is read, whoever asks."""
    with pytest.raises(DamoscopeError, match=GONE):
        run(gone().read())
