"""The models that there are: what ships, is installed, can be fetched, and runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from models.catalogue import CatalogueModel, catalogue
from models.errors import ModelStoreError
from models.store import VERSION_DIGITS, Store, sha256_of


@dataclass(frozen=True)
class ModelRow:
    """One model in the list. What is not known is None."""

    name: str
    #: bundled, installed, damaged, available (can be fetched), or running (from a file).
    state: str
    version: str | None = None
    classes: int | None = None
    #: Height and width in pixels.
    input_size: tuple[int, int] | None = None
    bytes: int | None = None
    licence: str | None = None
    about: str | None = None
    #: Workers that run it; None where no service could be asked.
    workers: int | None = None


def listed(store: Store, running: Mapping[tuple[str, str], int]) -> list[ModelRow]:
    """All models. `running` has the number of workers by name and version of what they run.

    Raises ModelStoreError when the store's folder cannot be read.
    """
    runs = Counter(running)
    rows = [_bundled(model) for model in catalogue().values() if model.bundled_file]
    names = store.names()
    rows += [_installed(store, name) for name in names]
    rows += [
        ModelRow(
            model.name, "available", classes=len(model.labels), input_size=model.input_size,
            licence=model.licence, about=model.about,
        )
        for model in catalogue().values() if not model.bundled_file and model.name not in names
    ]  # fmt: skip
    counted = [replace(row, workers=runs.pop((row.name, row.version or ""), 0)) for row in rows]
    return counted + [
        ModelRow(name, "running", version=version or None, workers=count)
        for (name, version), count in sorted(runs.items())
    ]


@cache
def version_of(file: Path) -> str:
    """The version of a file that does not change while a process runs: one that ships."""
    return sha256_of(file)[:VERSION_DIGITS]


def _bundled(model: CatalogueModel) -> ModelRow:
    file = model.bundled_file
    assert file
    return ModelRow(
        model.name, "bundled", version=version_of(file),
        bytes=file.stat().st_size, licence=model.licence, about=model.about,
    )  # fmt: skip


def _installed(store: Store, name: str) -> ModelRow:
    try:
        found = store.get(name)
    except ModelStoreError as error:
        return ModelRow(name, "damaged", about=str(error))
    if found is None:  # removed since the folder was read
        return ModelRow(name, "damaged", about="it is gone")
    facts = found.facts
    return ModelRow(
        name, "installed", version=found.version, classes=len(facts.labels),
        input_size=facts.input_size, bytes=facts.bytes, licence=facts.licence or None,
        about=facts.source,
    )  # fmt: skip
