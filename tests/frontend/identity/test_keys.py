"""frontend.identity.keys: the file, written by several at once, and read as it changes."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from frontend.identity import keys
from frontend.identity.keys import KeyRing, Unreadable
from pipeline.errors import ConfigurationError


class Clock:
    """Seconds, as a test sets them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_many_commands_at_once(path: Path) -> None:
    """Each adds its key, and none is lost."""
    threads = [
        threading.Thread(target=keys.add, args=(path, f"camera-{number}", ["detect"]))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in keys.read(path)} == {f"camera-{number}" for number in range(20)}


def test_nothing_is_left_of_a_write_that_fails(path: Path) -> None:
    """The file is as it was, and no half one lies beside it."""
    keys.add(path, "a", ["read"])
    before = path.read_bytes()
    with pytest.raises(ConfigurationError):
        keys.add(path, "a", ["read"])
    assert path.read_bytes() == before
    assert {each.name for each in path.parent.iterdir()} == {"keys.json", "keys.json.lock"}


def test_a_ring_follows_the_file(path: Path) -> None:
    """It looks once a second, not at every request."""
    clock = Clock()
    ring = KeyRing(path, clock)
    assert not ring.look()
    secret = keys.add(path, "camera", ["detect"])
    assert ring.find(secret) is None
    clock.now += 1
    found = ring.find(secret)
    assert found is not None
    assert (found.name, found.roles) == ("camera", ("detect",))
    assert ring.named("camera", found.id) == found
    assert ring.named("camera", "another") is None
    assert ring.look()
    keys.revoke(path, "camera")
    clock.now += 1
    assert ring.find(secret) is None
    path.unlink()
    clock.now += 1
    assert ring.look()  # there was one: that is never forgotten
    assert "is gone" in ring.problem


@pytest.mark.parametrize("kind", ["folder", "pipe", "huge", "unreadable"])
def test_files_that_are_none(kind: str, path: Path) -> None:
    """A pipe is not waited for, a huge file is not read, and nobody gets in."""
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "huge":
            with path.open("wb") as file:
                file.truncate(2**33)
        case "unreadable":
            path.symlink_to("/proc/self/mem")
    ring = KeyRing(path)
    assert ring.look()
    assert ring.problem
    with pytest.raises(Unreadable, match="keys"):
        keys.read(path)
    with pytest.raises(ConfigurationError):
        keys.add(path, "a", ["read"])


@pytest.mark.parametrize(
    "change",
    [
        {"roles": ["root"]}, {"roles": []}, {"roles": "read"}, {"sha256": "x"}, {"sha256": 1},
        {"name": "a b"}, {"name": 7}, {"expires": "soon"}, {"expires": 1}, {"more": 1},
        {"expires": "2030-01-01T00:00:00"},
    ],
)  # fmt: skip
def test_entries_that_cannot_be(change: dict[str, object], path: Path) -> None:
    """One that is wrong makes the whole file damaged: nobody guesses what was meant."""
    keys.add(path, "good", ["read"])
    content = json.loads(path.read_text())
    content["keys"].append({**content["keys"][0], "name": "bad", **change})
    path.write_text(json.dumps(content))
    with pytest.raises(Unreadable, match="is damaged"):
        keys.read(path)


def test_names_in_any_language(path: Path) -> None:
    """Letters are letters, and the same name written in two ways is one."""
    keys.add(path, "考场-3", ["detect"])
    keys.add(path, "Jose\u0301", ["read"])
    with pytest.raises(ConfigurationError, match="revoke it first"):
        keys.add(path, "Jos\u00e9", ["read"])
    assert keys.revoke(path, "Jose\u0301") == 1
