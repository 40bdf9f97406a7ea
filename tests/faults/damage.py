"""Ways in which a file gets damaged: `python -m tests.faults.damage WAY FILE`.

A command, because whoever closes a database's file drops the locks that SQLite holds in the same
process.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT

PAGE = 4096


def header(path: Path) -> None:
    """The first page is nonsense."""
    _overwrite(path, 0, PAGE)


def pages(path: Path) -> None:
    """All but the first page are nonsense: not to be seen before they are read."""
    _overwrite(path, PAGE, path.stat().st_size)


def half(path: Path) -> None:
    """Cut in the middle."""
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE)


def emptied(path: Path) -> None:
    """Cut to nothing, as `: > FILE` does."""
    os.truncate(path, 0)


def text(path: Path) -> None:
    """Written over with something else."""
    path.write_text("shopping list\n" * 1000)


def deleted(path: Path) -> None:
    """Removed, without what lies beside it."""
    path.unlink()


def _overwrite(path: Path, start: int, end: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(random.Random(start).randbytes(end - start))


WAYS = {way.__name__: way for way in (header, pages, half, emptied, text, deleted)}


def inflict(way: str, path: Path) -> None:
    """Do it from another process."""
    subprocess.run(
        [sys.executable, "-m", "tests.faults.damage", way, str(path)], cwd=ROOT, check=True
    )


def _into_the_file(path: Path) -> None:
    """Put the pages of SQLite's log into the file: else they are read from there, and heal it."""
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


if __name__ == "__main__":
    if sys.argv[2].endswith(".db"):
        _into_the_file(Path(sys.argv[2]))
    WAYS[sys.argv[1]](Path(sys.argv[2]))
