"""`damoscope model import`: a file from elsewhere becomes an installed model."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from models.errors import ModelStoreError
from models.names import NAME_MAX, checked_name
from models.store import InstalledModel, ModelFacts, Store
from pipeline.errors import ConfigurationError
from pipeline.settings import load
from run import extras, training_env

#: Pixels of a side that can be asked for.
SIDE_MAX = 8192


def import_model(
    file: Annotated[
        Path, typer.Argument(help="ONNX export of a DAMO-YOLO, or a checkpoint (.pt, .pth).")
    ],
    name: Annotated[
        str | None, typer.Option(help="What to call it. Default: the file's name.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Text file with one class name a line.")
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(
            help="Height x width, such as 640x640, where the file leaves it open; of a checkpoint, "
            "what it is to run at."
        ),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the model. Default: what the file says.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an installed model of that name.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="Data folder (DAMOSCOPE_HOME).")] = None,
) -> None:
    """Install a DAMO-YOLO: check it, write the graph that workers run, compare the two."""
    extras.require("worker")
    store = Store(load(home=home).models_folder)
    called = checked_name(name or _slug(file.stem))
    if called in store.names() and not replace:
        raise ModelStoreError(
            f"a model {called} is installed: choose another name with --name, or --replace it"
        )
    _say(_install(store, file, called, labels, _size(input_size), licence, replace))


def _install(
    store: Store, file: Path, name: str, labels: Path | None, size: tuple[int, int] | None,
    licence: str | None, replace: bool,
) -> InstalledModel:  # fmt: skip
    # Imported here: a frontend's host has none of it.
    from worker.model.files import is_checkpoint
    from worker.model.importing import import_onnx

    with tempfile.TemporaryDirectory(prefix="damoscope-import-") as folder:
        export, written = file, Path(folder) / "model.onnx"
        if is_checkpoint(file):
            print(f"{file} is a checkpoint: PyTorch makes an ONNX model of it ...", flush=True)
            export = Path(folder) / f"{file.stem}.onnx"
            training_env.convert(file, export, size)
        print(f"{file}: running it on test pictures ...", flush=True)
        made = import_onnx(export, written, name=name, labels=labels, input_size=size)
        facts = ModelFacts(
            source=file.name,
            licence=made.licence if licence is None else licence,
            labels=made.spec.labels,
            input_size=(made.spec.height, made.spec.width),
            score_threshold=made.spec.score_threshold,
            iou_threshold=made.spec.iou_threshold,
            checked={
                "parity": dict(vars(made.parity)),
                "batch axis": "free" if made.free_batch else "1",
                "notes": list(made.notes),
            },
        )
        print(f"What was written, against the original {made.parity}.")
        for note in made.notes:
            print(f"Note: {note}.")
        return store.add(name, written, facts, replace=replace)


def _say(model: InstalledModel) -> None:
    facts = model.facts
    names = ", ".join(facts.labels[:5]) + (", ..." if len(facts.labels) > 5 else "")
    classes = "1 class" if len(facts.labels) == 1 else f"{len(facts.labels)} classes"
    print(
        f"{model.name} is installed: {classes} ({names}), {facts.input_size[0]} x "
        f"{facts.input_size[1]}, version {model.version}.\n"
        f"Try it: damoscope detect --model {model.name} PHOTO.jpg"
    )


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width as they are typed: 640, 640x384."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,4})(?:\s*[xX,]\s*(\d{1,4}))?", text.strip())
    sides = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(1 <= side <= SIDE_MAX for side in sides):
        raise ConfigurationError(
            f"--input-size {text}: write height x width in pixels, such as 640x640, up to "
            f"{SIDE_MAX}"
        )
    return sides


def _slug(text: str) -> str:
    """A name for a model, made of a file's."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")[:NAME_MAX].strip("._-")
