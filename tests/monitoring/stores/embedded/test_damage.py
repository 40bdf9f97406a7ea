"""monitoring.stores.embedded.damage: a lost file costs what was in it, and nothing more."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from monitoring.stores.contract import Window
from monitoring.stores.embedded import damage, schema, writer
from monitoring.stores.embedded.schema import Readers
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.embedded.traces import EmbeddedTraces
from pipeline.errors import Unavailable
from telemetry import catalogue
from tests.faults.damage import inflict
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process

NOW_NS = int(NOW_S * 1e9)
BEFORE = ("header", "pages", "half", "text")
WHILE = (*BEFORE, "emptied", "deleted")


def fill(store: EmbeddedStore, images: int = 40) -> None:
    """Some history."""
    for number in range(images):
        for part in traffic.image(NOW_NS + number * 10**9):
            store.receive_traces(traffic.encoded(part))
    store.flush()


def add(store: EmbeddedStore) -> str:
    """One more image; its trace id."""
    parts = traffic.image(NOW_NS + 10**12)
    for part in parts:
        store.receive_traces(traffic.encoded(part))
    store.flush()
    return traffic.trace_id(parts[0])


def is_sound(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


@pytest.mark.parametrize("way", BEFORE)
def test_damaged_before_the_start(path: Path, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """The file is moved aside, at the start or when the damage is met, and a new one serves."""
    store = EmbeddedStore(path, clock=Clock())
    fill(store)
    store.close()
    inflict(way, path)
    store = EmbeddedStore(path, clock=Clock())
    for _ in range(3):  # whoever meets it is told to come again, at most
        with contextlib.suppress(Unavailable):
            store.traces.search(limit=1000)
    trace = add(store)
    assert store.traces.get(trace)
    assert [each.trace_id for each in store.traces.search(limit=1000)] == [trace]
    (aside,) = damage.found_aside(path)
    assert store.begun_anew(3600) == 1
    store.close()
    assert is_sound(path)
    assert not is_sound_or_none(aside)
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert any("damaged" in record.getMessage() and aside.name in record.getMessage()
               for record in said)  # fmt: skip


def is_sound_or_none(path: Path) -> bool:
    try:
        return is_sound(path)
    except sqlite3.DatabaseError:
        return False


@pytest.mark.parametrize("way", WHILE)
def test_damaged_while_in_use(path: Path, way: str) -> None:
    """The writer goes on in a new file; what it had not stored yet is stored there; readers of
    this process and of another go on, too."""
    store = EmbeddedStore(path, clock=Clock())
    other = EmbeddedTraces(Readers(path))  # as the watcher has it
    fill(store)
    assert len(other.search(limit=1000)) == len(store.traces.search(limit=1000)) == 40
    inflict(way, path)
    traces = []
    for _ in range(3):
        traces.append(add(store))
        for each in (other, store.traces):
            with contextlib.suppress(Unavailable):
                each.search(limit=1000)
    store.writer.flush()
    for each in (other, store.traces):
        found = {summary.trace_id for summary in each.search(limit=1000)}
        assert traces[-1] in found
        assert len(found) <= 3, "what was in the damaged file is gone"
    assert store.writer.failed == 0
    assert store.begun_anew(3600) == 1
    assert len(damage.found_aside(path)) == (way != "deleted")
    store.close()
    assert is_sound(path)


def test_the_folder_is_moved_while_in_use(path: Path, tmp_path: Path) -> None:
    """A new file is begun where the old one was; the old one is sound where it is now."""
    home = tmp_path / "home"
    store = EmbeddedStore(home / path.name, clock=Clock())
    fill(store)
    home.rename(tmp_path / "elsewhere")
    trace = add(store)
    assert [each.trace_id for each in store.traces.search()] == [trace]
    store.close()
    assert is_sound(home / path.name)
    old = EmbeddedStore(tmp_path / "elsewhere" / path.name, clock=Clock())
    assert len(old.traces.search(limit=1000)) == 40
    old.close()


def test_a_log_without_its_file_is_not_applied(path: Path) -> None:
    """What is left of a file that somebody removed does not get into the next one."""
    store = EmbeddedStore(path, clock=Clock())
    fill(store)
    shutil.copy(f"{path}-wal", f"{path}-kept")
    store.close()
    path.unlink()
    Path(f"{path}-kept").rename(f"{path}-wal")
    store = EmbeddedStore(path, clock=Clock())
    assert store.traces.search() == []
    store.close()
    assert is_sound(path)


def test_what_was_counted_before_is_not_counted_again(path: Path) -> None:
    """A process that goes on reports its totals to the new file: they did not happen now."""
    clock = Clock()
    store = EmbeddedStore(path, clock=clock)
    process = Process(start_s=time.time() - 3600)

    def requests(total: int, after_s: int) -> float:
        clock.now_s = time.time() + after_s
        store.receive_metrics(process.counter(catalogue.REQUESTS, clock.now_s, total))
        store.flush()
        window = Window(clock.now_s - 600, clock.now_s + 600)
        return store.metrics.increase(catalogue.REQUESTS, window).get((), 0.0)

    assert requests(1000, 0) == 1000
    inflict("deleted", path)
    assert requests(1010, 10) == 0
    assert requests(1015, 20) == 5
    store.close()


def test_a_few_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged files do not fill the disk: the newest are kept."""
    monkeypatch.setattr(writer, "ANEW_EVERY_S", 0.0)
    store = EmbeddedStore(path, clock=Clock())
    for _ in range(damage.KEPT + 2):
        fill(store, 3)
        inflict("text", path)
        add(store)
    store.close()
    assert len(damage.found_aside(path)) == damage.KEPT
    assert {each.name for each in path.parent.iterdir()} <= {
        f"{each.name}{suffix}"
        for each in (path, *damage.found_aside(path))
        for suffix in ("", "-wal", "-shm")
    }


def test_two_who_find_out_at_once(path: Path) -> None:
    """A file that is moved aside is not followed by the new one."""
    schema.prepare(path)
    seen = damage.identity(path)
    assert seen is not None
    found = sqlite3.DatabaseError("it is damaged")

    def replace() -> None:
        damage.set_aside(path, seen, found)
        schema.make(path)

    threads = [threading.Thread(target=replace) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(damage.found_aside(path)) == 1
    assert is_sound(path)


def test_errors_of_our_own_are_no_damage(path: Path) -> None:
    """A statement that is wrong moves no file."""
    store = EmbeddedStore(path, clock=Clock())
    store.writer.submit(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"), 1)
    store.flush()
    assert store.writer.failed == 1
    assert store.begun_anew(3600) == 0
    store.close()
