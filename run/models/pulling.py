"""`damoscope model pull`: a model of the catalogue, fetched, checked and installed."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from models import download
from models.catalogue import CatalogueModel, catalogue
from models.errors import ModelStoreError
from models.names import checked_name
from models.store import InstalledModel, ModelFacts, Store
from pipeline.settings import Settings

#: Seconds between two lines where nobody looks at a terminal.
EVERY_PLAIN_S = 10.0


def pull(settings: Settings, name: str, file: Path | None) -> InstalledModel:
    """Install a model of the catalogue, from its address, a mirror, or a file that is there.

    One that is installed, and whole, is left as it is.
    Raises ModelStoreError and ModelError.
    """
    model, store = _fetched(name), Store(settings.models_folder)
    if (found := store.get(name)) is not None:
        if found.facts.checked.get("git_blob") != model.git_blob:
            raise ModelStoreError(
                f"another model is installed as {name}: `damoscope model remove {name}` makes room"
            )
        found.verify()
        return found
    assert model.git_blob
    if file is not None:
        download.check_file(file, model.git_blob)
        return _install(store, model, file)
    fetched = store.folder / f".{model.git_blob}"
    address = _address(settings, model)
    if not fetched.is_file():
        with _shown(name) as progress:
            download.fetch(address, fetched, model.git_blob, progress)
    else:  # an earlier try ended between its last byte and here
        download.check_file(fetched, model.git_blob)
    installed = _install(store, model, fetched)
    fetched.unlink(missing_ok=True)
    return installed


def _fetched(name: str) -> CatalogueModel:
    known = catalogue()
    if (model := known.get(checked_name(name))) is None:
        names = ", ".join(each.name for each in known.values() if each.address)
        raise ModelStoreError(
            f"the catalogue has no model {name}, but {names}; one of your own is installed by "
            "`damoscope model import`"
        )
    if model.bundled_file:
        raise ModelStoreError(f"{name} ships with damoscope: there is nothing to fetch")
    return model


def _address(settings: Settings, model: CatalogueModel) -> str:
    assert model.address
    if settings.model_mirror is None:
        return model.address
    return f"{settings.model_mirror}{urlsplit(model.address).path}"


def _install(store: Store, model: CatalogueModel, file: Path) -> InstalledModel:
    from worker.model.importing import import_onnx  # here: a frontend's host has none of it

    assert model.score_threshold is not None
    assert model.iou_threshold is not None
    with tempfile.TemporaryDirectory(prefix="damoscope-pull-") as folder:
        labels, written = Path(folder) / "labels.txt", Path(folder) / "model.onnx"
        labels.write_text("\n".join(model.labels), encoding="utf-8")
        made = import_onnx(file, written, name=model.name, labels=labels)
        facts = ModelFacts(
            source=model.address or "",
            licence=model.licence,
            labels=model.labels,
            input_size=(made.spec.height, made.spec.width),
            score_threshold=model.score_threshold,
            iou_threshold=model.iou_threshold,
            checked={
                "git_blob": model.git_blob,
                "parity": dict(vars(made.parity)),
                "batch axis": "free" if made.free_batch else "1",
                "notes": list(made.notes),
            },
        )
        return store.add(model.name, written, facts)


@contextmanager
def _shown(name: str) -> Iterator[download.Progress]:
    """On the standard error: a bar on a terminal, a line from time to time elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(name)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
               TransferSpeedColumn(), TimeRemainingColumn())  # fmt: skip
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    def __init__(self, name: str) -> None:
        self._name, self._said_s = name, 0.0

    def __call__(self, done: int, total: int | None) -> None:
        if time.monotonic() - self._said_s >= EVERY_PLAIN_S or done == total:
            self._said_s = time.monotonic()
            of = "" if total is None else f" of {total:,}"
            print(f"{self._name}: {done:,}{of} bytes", file=sys.stderr, flush=True)
