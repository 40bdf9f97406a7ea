"""What we write holds images and addresses of people: it is for our user alone."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger("damoscope")

#: Neither group nor others may anything.
UMASK = 0o077
#: What we make in a data folder. What is below a folder is closed with it.
OURS = ("lock", "redis", "telemetry.db", "telemetry.db-wal", "telemetry.db-shm")
#: What the full stack without containers makes in its own.
OF_STACK = ("config", "data", "log", "redis-password", "state.json", "supervisor.log", "workers")


def keep_private() -> None:
    """From now on files and sockets of this process, and of what it starts, are private."""
    os.umask(UMASK)


def tighten(home: Path, names: Iterable[str] = OURS) -> None:
    """Close what an older release, or another umask, has left open in a data folder.

    The folder itself is the user's, and may be one that others have to pass: where they could
    replace our files in it, that is said.
    """
    for name in names:
        path = home / name
        try:
            found = path.lstat()
            # A link leads to what is not ours to change.
            if found.st_mode & UMASK and not stat.S_ISLNK(found.st_mode):
                path.chmod(stat.S_IMODE(found.st_mode) & ~UMASK)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("%s may be read by others: %s", path, error.strerror)
    try:
        mode = home.stat().st_mode
    except OSError:
        return
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        log.warning("DAMOSCOPE_HOME=%s: anybody may write there; chmod o-w it", home)
