"""The models that there are: what ships, is installed, can be fetched, and runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from models.catalogue import CatalogueModel, ModelCard, ModelFigures, catalogue
from models.errors import ModelStoreError
from models.store import VERSION_DIGITS, Store, sha256_of


class ModelRow(BaseModel):
    """One model in the list. What is not known is None."""

    model_config = ConfigDict(frozen=True)

    name: str
    #: bundled, installed, damaged, available (can be fetched), or running (from a file).
    state: Literal["bundled", "installed", "damaged", "available", "running"]
    version: str | None = None
    #: Number of classes.
    classes: int | None = None
    #: Height and width in pixels.
    input_size: tuple[int, int] | None = None
    bytes: int | None = None
    licence: str | None = None
    about: str | None = None
    #: The same in Chinese, of what the catalogue has.
    about_zh: str | None = None
    #: Workers that run it; None where no service could be asked.
    workers: int | None = None
    labels: tuple[str, ...] | None = None
    score_threshold: float | None = None
    iou_threshold: float | None = None
    #: What its makers say of it, or its card, or what was looked at when it was installed.
    figures: ModelFigures | None = None
    card: ModelCard | None = None
    checked: dict[str, JsonValue] | None = None


def listed(store: Store, running: Mapping[tuple[str, str], int]) -> list[ModelRow]:
    """All models. `running` has the number of workers by name and version of what they run.

    Raises ModelStoreError when the store's folder cannot be read.
    """
    runs = Counter(running)
    rows = [_bundled(model) for model in catalogue().values() if model.bundled_file]
    names = store.names()
    rows += [_installed(store, name) for name in names]
    rows += [
        _known(model, "available")
        for model in catalogue().values()
        if not model.bundled_file and model.name not in names
    ]
    counted = [
        row.model_copy(update={"workers": runs.pop((row.name, row.version or ""), 0)})
        for row in rows
    ]
    return counted + [
        ModelRow(name=name, state="running", version=version or None, workers=count)
        for (name, version), count in sorted(runs.items())
    ]


@cache
def version_of(file: Path) -> str:
    """The version of a file that does not change while a process runs: one that ships."""
    return sha256_of(file)[:VERSION_DIGITS]


def _bundled(model: CatalogueModel) -> ModelRow:
    file = model.bundled_file
    assert file
    more = {"version": version_of(file), "bytes": file.stat().st_size, "card": model.card}
    return _known(model, "bundled").model_copy(update=more)


def _known(model: CatalogueModel, state: Literal["bundled", "available"]) -> ModelRow:
    """As the catalogue has it."""
    return ModelRow(
        name=model.name, state=state, classes=len(model.labels), input_size=model.input_size,
        licence=model.licence, about=model.about.en, about_zh=model.about.zh, labels=model.labels,
        score_threshold=model.score_threshold, iou_threshold=model.iou_threshold,
        figures=model.figures,
    )  # fmt: skip


def _installed(store: Store, name: str) -> ModelRow:
    try:
        found = store.get(name)
    except ModelStoreError as error:
        return ModelRow(name=name, state="damaged", about=str(error))
    if found is None:  # removed since the folder was read
        return ModelRow(name=name, state="damaged", about="it is gone")
    facts = found.facts
    known = catalogue().get(name)
    return ModelRow(
        name=name, state="installed", version=found.version, classes=len(facts.labels),
        input_size=facts.input_size, bytes=facts.bytes, licence=facts.licence or None,
        about=facts.source, labels=facts.labels, score_threshold=facts.score_threshold,
        iou_threshold=facts.iou_threshold, checked=facts.checked,
        # Of a model of the catalogue, if this is the file that is meant there.
        figures=known.figures
        if known and facts.checked.get("git_blob") == known.git_blob else None,
    )  # fmt: skip
