"""`damoscope keys`: make, list and revoke the keys of an installation."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from frontend.identity import keys as store
from frontend.identity.start import keys_file
from pipeline.errors import ConfigurationError
from pipeline.settings import load

app = typer.Typer(help="Keys: who may do what.", no_args_is_help=True)

Home = Annotated[Path | None, typer.Option(help="Data folder (DAMOSCOPE_HOME).")]
Name = Annotated[
    str, typer.Argument(help="Name: what figures, traces and reports call its holder.")
]


@app.command()
def add(
    name: Name,
    role: Annotated[
        list[str],
        typer.Option(help="detect, read or admin; repeat it for more than one."),
    ],
    days: Annotated[
        float | None, typer.Option(help="Days until it expires. Default: never.")
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="Only if there is no key yet; else do nothing.")
    ] = False,
    home: Home = None,
) -> None:
    """Make a key and print it, once: it is kept nowhere."""
    path = _file(home)
    if first and _read(path):
        print("there are keys already: no other was made")
        return
    secret = store.add(path, name, role, days)
    print(f"The key of {name}, shown this once:\n\n    {secret}\n")
    print("Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`, or log in with it.")


@app.command("list")
def listed(home: Home = None) -> None:
    """List the keys: names, roles and times."""
    path = _file(home)
    rows = [("NAME", "ROLES", "CREATED", "EXPIRES")]
    for key in sorted(_read(path), key=lambda each: each.name):
        expires = _day(key.expires) if key.expires else "never"
        rows.append((
            key.name, " ".join(key.roles), _day(key.created),
            expires if key.stands() else f"{expires} (expired)",
        ))  # fmt: skip
    if len(rows) == 1:
        print(f"there are no keys in {path}")
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


@app.command()
def revoke(name: Name, home: Home = None) -> None:
    """Take a key away. Services that run notice within seconds, and end its logins."""
    path = _file(home)
    left = store.revoke(path, name)
    print(f"{name} is revoked")
    if not left:
        print(f"no key is left: nobody gets in by one. Without {path} a start on loopback is open.")


def _file(home: Path | None) -> Path:
    return keys_file(load(home=home))


def _read(path: Path) -> list[store.Key]:
    try:
        return store.read(path)
    except store.Unreadable as error:
        raise ConfigurationError(str(error)) from error


def _day(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"
