"""Whatever a running service writes is for its user alone, also in a folder of an older release."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from run import private_files
from tests.integration import pictures
from tests.servers import Service, eventually


def looser(folder: Path) -> list[str]:
    """What group or others may do anything with, below a folder that they can enter."""
    found = []
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            found.append(f"{path.name} {stat.filemode(mode)}")
            found += looser(path) if stat.S_ISDIR(mode) else []
    return found


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_what_the_service_writes(tmp_path: Path, usual_umask: None) -> None:
    """Redis' files hold images, the telemetry addresses, the pages' folder uploads."""
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / "redis").mkdir(parents=True)
    for name in ("lock", "telemetry.db"):
        (home / name).touch(0o644)
    (home / "redis" / "redis.log").touch(0o644)
    outside.touch(0o644)
    (home / "mine").touch(0o644)
    with Service(home, pages=True, GRADIO_TEMP_DIR=str(home / "uploads")) as service:
        service.wait_until_ready()
        with service.client() as client:
            image = pictures.jpeg()
            sent = client.post("/api/v1/detect", files={"image": ("a.jpg", image, "image/jpeg")})
            assert sent.status_code == 200
            client.post("/gradio_api/upload", files={"files": ("a.jpg", image, "image/jpeg")})
        service.wait_for("watching;")
        written = [path.name for path in home.rglob("*")]
        assert {"telemetry.db", "telemetry.db-wal", "redis.sock", "redis.log"} <= set(written)
        eventually(lambda: any(name.endswith(".aof") for name in written), "the append-only file")
        # `output.log` is the test's own, `mine` the user's.
        left = [each for each in looser(home) if not each.startswith(("output.log ", "mine "))]
        assert left == []
        assert stat.S_IMODE((home / "redis").stat().st_mode) == 0o700


def test_a_folder_of_an_older_release(tmp_path: Path) -> None:
    """Ours is closed; the user's own, and what a link leads to, stay as they are."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    elsewhere.chmod(0o644)
    home = tmp_path / "home"
    (home / "redis").mkdir(parents=True)
    (home / "redis").chmod(0o755)
    (home / "telemetry.db").touch()
    (home / "telemetry.db").chmod(0o644)
    (home / "lock").symlink_to(elsewhere)
    (home / "notes").touch()
    (home / "notes").chmod(0o644)
    private_files.tighten(home)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in home.iterdir()}
    assert modes["redis"] == 0o700
    assert modes["telemetry.db"] == 0o600
    assert modes["notes"] == 0o644
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644


def test_a_folder_where_anybody_writes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said: somebody could replace what is in it."""
    tmp_path.chmod(0o777)
    private_files.tighten(tmp_path)
    assert "anybody may write there" in caplog.text
