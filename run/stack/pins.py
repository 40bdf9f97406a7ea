"""The versions of the servers, from pins.toml, the one place that decides them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("pins.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One server's version. `until` is when its support ends, or where the project has a `rule`
    and no dates, when we look at it again; `module` is what it is built from, and `sum` Go's own of
    that."""

    version: str
    image: str
    until: date
    source: str
    rule: str = ""
    module: str = ""
    sum: str = ""


def read(path: Path = FILE) -> dict[str, Pin]:
    """All pins by the server's name. Raises TypeError for what no pin has."""
    with path.open("rb") as file:
        return {name: Pin(**fields) for name, fields in tomllib.load(file).items()}


def overdue(pins: dict[str, Pin], today: date) -> list[str]:
    """A line for each pin whose date is past: which it is, and what to do."""
    return [
        f"{name} {pin.version} is {'due for a look' if pin.rule else 'out of support'} since "
        f"{pin.until}: see {pin.source}, then raise it in {FILE.name}, which says how"
        for name, pin in pins.items()
        if pin.until < today
    ]
