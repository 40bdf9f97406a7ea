"""Make .env from .env.example, with passwords filled in. Standard library only."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

EMPTY_PASSWORD = re.compile(r"^([A-Z_]+_PASSWORD)=\s*$", re.MULTILINE)


def create(root: Path) -> bool:
    """Write .env unless it exists; return whether it was written."""
    target = root / ".env"
    text = EMPTY_PASSWORD.sub(
        lambda found: f"{found[1]}={secrets.token_hex(24)}", (root / ".env.example").read_text()
    )
    try:
        # Readable by its owner alone, from the first byte on.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return True
