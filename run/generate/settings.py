"""The settings, as docs/settings.md, .env.example and docker-compose.yml say them again."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pipeline.setting_readers import Process, ReadBy
from pipeline.settings import SECTIONS, Settings, variable
from run.generate.generated import table
from telemetry.variables import VARIABLES

#: Services of Compose -> the command that runs in them.
SERVICES: Final[dict[str, Process]] = {
    "frontend": "frontend", "watcher": "watcher", "worker": "worker",
}  # fmt: skip
#: What a container has of its own, whatever .env says: its addresses and folders.
FIXED: Final = (
    "home", "host", "port", "redis_url", "prometheus_url", "jaeger_url",
)  # fmt: skip
#: Settings with a default of Compose's own, or with a meaning there that differs: by hand in
#: docker-compose.yml and .env.example.
BY_HAND: Final = (
    "model", "provider", "workers", "jaeger_ui_url", "public_url", "notify_file",
    "webhook_token_file",
)  # fmt: skip
#: Defaults that depend on the machine.
SHOWN: Final = {"home": "see right", "model": "the bundled one", "workers": "one per core"}


def tables() -> str:
    """The sections of docs/settings.md."""
    return "\n\n".join(
        f"## {title}\n\n{table(('variable', 'default', 'read by', ''), *map(_row, names))}"
        for title, names in _sections()
    )


def example() -> str:
    """The settings in .env.example, each commented out, with its default."""
    lines = []
    for title, names in _sections():
        names = [name for name in names if name not in (*FIXED, *BY_HAND) and _in_containers(name)]
        if names:
            lines.append(f"\n# -- {title.lower()}")
        for name in names:
            lines += textwrap.wrap(about(name).replace("`", ""), 96, initial_indent="# ",
                                   subsequent_indent="# ")  # fmt: skip
            lines.append(f"#{variable(name)}={_default(name) or ''}")
    return "\n".join(lines)


def passed() -> str:
    """What each service of docker-compose.yml takes from .env under the name it has there."""
    lines = [
        "# Made by `make generate` from pipeline/settings.py. A name without a value has the one",
        "# that .env gives it, and is not set where that gives none.",
    ]
    for service, process in SERVICES.items():
        names = [name for name in Settings.read_by(process) if name not in (*FIXED, *BY_HAND)]
        lines += ["", *_block(f"{service}-settings", [variable(name) for name in names])]
    return "\n".join([*lines, "", *_block("opentelemetry", opentelemetry())])


def opentelemetry() -> list[str]:
    """Every variable of OpenTelemetry that frontend and workers go by."""
    return sorted(name for each in VARIABLES for name in each.names)


def about(name: str) -> str:
    """A setting's description, with the values that it can have."""
    field = Settings.model_fields[name]
    text = field.description or ""
    if found := choices(name):
        *first, last = (f"`{choice}`" for choice in found)
        text += f" {', '.join(first)} or {last}."
    return f"{text} Secret." if Settings.is_secret(name) else text


def _sections() -> Iterator[tuple[str, list[str]]]:
    names = list(Settings.model_fields)
    starts = [names.index(first) for first in SECTIONS] + [len(names)]
    for title, start, end in zip(SECTIONS.values(), starts, starts[1:], strict=False):
        yield title, names[start:end]


def _row(name: str) -> tuple[str, ...]:
    default = SHOWN.get(name) or (f"`{found}`" if (found := _default(name)) else "unset")
    read_by = ", ".join(_read_by(name))
    return f"`{variable(name)}`", default, read_by, about(name)


def _read_by(name: str) -> tuple[Process, ...]:
    marks = (mark for mark in Settings.model_fields[name].metadata if isinstance(mark, ReadBy))
    return next(marks).processes


def _in_containers(name: str) -> bool:
    return bool(set(SERVICES.values()) & set(_read_by(name)))


def _default(name: str) -> str | None:
    """A setting's default as one would write it; None where there is none, or no fixed one."""
    default = Settings.model_fields[name].get_default(call_default_factory=False)
    if default is None or isinstance(default, Path):
        return None
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def choices(name: str) -> list[str]:
    """The values that a setting can have; none where they are not listed."""
    annotation = Settings.model_fields[name].annotation
    found = get_args(annotation) if get_origin(annotation) is Literal else ()
    return [str(choice) for choice in found]


def _block(name: str, variables: list[str]) -> list[str]:
    return [f"x-{name}: &{name}", *(f"  {variable}:" for variable in variables)]
