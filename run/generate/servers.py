"""The table of servers in docs/full-stack.md, from run/stack/pins.toml."""

from __future__ import annotations

from run.generate.generated import table
from run.stack import pins


def versions() -> str:
    """Every server: its version, until when, and whose word that is."""
    rows = [
        (
            f"`{name}`",
            f"`{pin.image}`",
            f"`{pin.until}`{', our own look' if pin.rule else ''}",
            f"[{pin.rule or 'its dates'}]({pin.source})",
        )
        for name, pin in pins.read().items()
    ]
    return table(("server", "image", "until", "what its project supports"), *rows)
