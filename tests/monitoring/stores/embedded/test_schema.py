"""monitoring.stores.embedded.schema: making, upgrading and refusing the file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from monitoring.stores.embedded import schema
from monitoring.stores.embedded.store import EmbeddedStore
from pipeline.errors import ConfigurationError, Unavailable


def version(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def test_a_new_file(path: Path) -> None:
    """A new store is in WAL mode, shrinks, and knows its version; its folder is made."""
    path = path.parent / "not" / "there" / "yet.db"
    schema.prepare(path)
    assert version(path) == len(schema.MIGRATIONS)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_opening_again_changes_nothing(path: Path) -> None:
    """A store of this version is taken as it is."""
    schema.prepare(path)
    before = path.read_bytes()
    schema.prepare(path)
    assert path.read_bytes() == before


def test_an_older_file_is_upgraded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further script runs once, on the data that is there."""
    store = EmbeddedStore(path)
    store.close()
    further = "CREATE TABLE further (x INTEGER);\nINSERT INTO further VALUES (1);"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, further))
    schema.prepare(path)
    schema.prepare(path)
    assert version(path) == len(schema.MIGRATIONS)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM further").fetchone() == (1,)


def test_an_upgrade_that_fails_leaves_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that breaks off is undone as a whole, and the error names the file."""
    schema.prepare(path)
    before = len(schema.MIGRATIONS)
    broken = "CREATE TABLE further (x INTEGER);\nINSERT INTO nowhere VALUES (1);"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
    with pytest.raises(ConfigurationError, match=path.name):
        schema.prepare(path)
    assert version(path) == before
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'further'")
        assert found.fetchone() is None


def test_a_newer_file_is_refused(path: Path) -> None:
    """A store that a newer version wrote is left alone; the error says what to do."""
    schema.prepare(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match=r"newer damoscope \(schema 99"):
        EmbeddedStore(path)
    assert version(path) == 99


def test_a_file_that_is_no_database(path: Path) -> None:
    """Something else under the store's name is moved aside and not overwritten."""
    path.write_bytes(b"shopping list\n" * 100)
    EmbeddedStore(path).close()
    (aside,) = path.parent.glob("telemetry.db.damaged-*")
    assert aside.read_bytes().startswith(b"shopping list")


def test_a_locked_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that another program holds is an error after a while, not a hang."""
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.1)
    schema.prepare(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigurationError, match="locked"):
        EmbeddedStore(path)
    holder.close()
    EmbeddedStore(path).close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file where the data folder should be is one clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="DAMOSCOPE_HOME"):
        EmbeddedStore(tmp_path / "file" / "telemetry.db")


def test_reading_a_closed_store(path: Path) -> None:
    """After closing, questions are answered with an error that says so."""
    store = EmbeddedStore(path)
    store.close()
    store.close()  # once more does no harm
    with pytest.raises(Unavailable, match="closed"):
        store.traces.search()


def test_only_one_file_is_left(path: Path) -> None:
    """Closing folds the write-ahead log into the file: it can be copied as it is."""
    store = EmbeddedStore(path)
    store.traces.search()
    store.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
