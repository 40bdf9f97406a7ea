"""How much of what is bounded the file has: one row each, which triggers keep."""

from __future__ import annotations

import sqlite3
from typing import Literal

from monitoring.stores.embedded.limits import Room

Counted = Room | Literal["stream", "resource", "line_bytes"]


def used(connection: sqlite3.Connection, name: Counted) -> int:
    """How many there are; of lines, their characters."""
    (found,) = connection.execute("SELECT used FROM room WHERE name = ?", (name,)).fetchone()
    return int(found)
