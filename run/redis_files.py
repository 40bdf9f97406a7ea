"""Which server wrote the files in Redis' data folder, and which servers can read them.

A server reads what older ones of its kind wrote, never what newer ones did: Redis 7.0 ends on
Valkey 9's files, and Redis 6.2, which knows no `appendonlydir`, would start empty beside them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ConfigurationError

#: Written by us, beside the server's own files.
RECORD = "server.json"
#: Since Redis 7.0 a folder of files; before, one file.
FILES, ONE_FILE = "appendonlydir", "appendonly.aof"
#: A snapshot names its writer in its first bytes.
_WRITER = re.compile(rb"(redis|valkey)-ver.(\d+)\.(\d+)\.", re.DOTALL)
_HEADER_BYTES = 64


class Version(NamedTuple):
    """A kind of server and its version; a release's patches write the same files."""

    name: str  # Redis or Valkey
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.name} {self.major}.{self.minor}"

    def reads(self, writer: Version) -> bool:
        """Whether it can read what `writer` wrote. Valkey began as Redis 7.2."""
        if self.name == writer.name:
            return self >= writer
        return self.name == "Valkey" and writer <= Version("Redis", 7, 2)


def writer(folder: Path) -> Version | None:
    """The server that the files in `folder` are from; None when there are none yet.

    Raises ConfigurationError when they are from two servers that did not know of each other.
    """
    files, one_file = folder / FILES, folder / ONE_FILE
    if files.is_dir() and one_file.is_file():
        raise ConfigurationError(
            f"{folder} holds two histories, {FILES} and an older server's {ONE_FILE}: move the one "
            "that is not wanted to another place"
        )
    if not files.is_dir() and not one_file.is_file():
        return None
    snapshots = [*files.glob("*.base.rdb"), one_file]
    return _recorded(folder) or next(
        (found for path in snapshots if (found := _in_header(path))),
        Version("Redis", 7, 0) if files.is_dir() else Version("Redis", 6, 2),
    )


def record(folder: Path, server: Version) -> None:
    """Note that `server` writes here from now on."""
    (folder / RECORD).write_text(json.dumps(server._asdict()) + "\n", encoding="utf-8")


def _recorded(folder: Path) -> Version | None:
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Version(str(found["name"]), int(found["major"]), int(found["minor"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _in_header(path: Path) -> Version | None:
    try:
        with path.open("rb") as file:
            found = _WRITER.search(file.read(_HEADER_BYTES))
    except OSError:
        return None
    if not found:
        return None
    return Version(found[1].decode().capitalize(), int(found[2]), int(found[3]))
