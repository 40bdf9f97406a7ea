"""`python -m run.stack.dotenv`: make .env from .env.example, with passwords filled in, and the
token by which the frontend knows Alertmanager.

Where Compose does not, it is read here. To make it the standard library is enough: who runs
containers has no environment of ours.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from difflib import get_close_matches
from pathlib import Path

NAME = re.compile(r"^#?([A-Z][A-Z0-9_]*)=", re.MULTILINE)
TOKEN = Path(".secrets", "webhook-token")
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


def create_token(path: Path) -> None:
    """Make the webhook's token, unless there is one. Alertmanager and frontend read it, as users
    of their own in containers, so that the folder is what keeps others away from it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o644)  # whatever the umask
        file.write(secrets.token_hex(32))


def load(root: Path) -> None:
    """Put what .env sets into the environment, where that does not set it itself."""
    from dotenv import (
        dotenv_values,  # imported here: making it needs nothing that is installed
    )

    for name, value in dotenv_values(root / ".env").items():
        if value:
            os.environ.setdefault(name, value)


def unknown(root: Path) -> list[str]:
    """A line for each name in .env that nothing reads."""
    known = set(NAME.findall((root / ".env.example").read_text()))
    given = re.findall(r"^([A-Za-z_][A-Za-z0-9_]*)=", (root / ".env").read_text(), re.MULTILINE)
    lines = []
    for name in given:
        if name in known or name.startswith(("OTEL_", "COMPOSE_", "DOCKER_")):
            continue
        ours = f"DAMOSCOPE_{name}"
        close = [ours] if ours in known else get_close_matches(name, known, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        lines.append(f".env: nothing reads {name}{meant}")
    return lines


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    written = create(root)
    create_token(root / TOKEN)
    print(".env written, with new passwords" if written else ".env is there: left as it is")
    for line in unknown(root):
        print(line, file=sys.stderr)
