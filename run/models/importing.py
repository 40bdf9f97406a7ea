"""`damoscope model import`: a file from elsewhere becomes an installed model."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import JsonValue

from models.errors import ModelStoreError
from models.names import NAME_MAX, checked_name, is_name
from models.store import InstalledModel, ModelFacts, ModelSource, Store
from pipeline.errors import ConfigurationError, ModelError
from pipeline.settings import Settings, load
from run import extras, training_env

if TYPE_CHECKING:  # a frontend's host has none of it
    import numpy as np
    from numpy.typing import NDArray

    from worker.model.loading import ModelSpec

#: Pixels of a side that can be asked for.
SIDE_MAX = 8192


class ReducedPrecision(StrEnum):
    """Fewer bits than the 32 of a model's numbers."""

    fp16 = "fp16"
    int8 = "int8"


def import_model(
    file: Annotated[
        Path,
        typer.Argument(
            help="ONNX export of a DAMO-YOLO, a checkpoint (.pt, .pth), or, with --precision, the "
            "name of a model that is here."
        ),
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
    precision: Annotated[
        ReducedPrecision | None,
        typer.Option(help="Fewer bits: fp16 for GPUs, int8 for CPUs. Needs --photographs."),
    ] = None,
    photographs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photographs such as the service will see: int8 is calibrated with half "
            "of them, and by the others what is written is compared with the original."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Install it although fewer bits cost too many boxes.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an installed model of that name.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="Data folder (DAMOSCOPE_HOME).")] = None,
) -> None:
    """Install a DAMO-YOLO: check it, write the graph that workers run, compare the two."""
    extras.require("worker")
    settings = load(home=home)
    store = Store(settings.models_folder)
    if (precision is None) is not (photographs is None):
        raise ConfigurationError(
            "--precision and --photographs go together: fewer bits are judged by photographs"
        )
    source = _source(store, file, precision)
    called = checked_name(name or _called(source, precision))
    if called in store.names() and not replace:
        raise ModelStoreError(
            f"a model {called} is installed: choose another name with --name, or --replace it"
        )
    with tempfile.TemporaryDirectory(prefix="damoscope-import-") as folder:
        written = Path(folder) / "model.onnx"
        facts, spec = _imported(source, written, called, labels, _size(input_size), licence)
        if precision is not None and photographs is not None:
            pictures = _pictures(settings, photographs, facts)
            print(f"Making it {precision.value}, with {len(pictures)} photographs ...", flush=True)
            full, written = written, written.with_name("reduced.onnx")
            checked = _reduced(full, written, precision, facts, spec, pictures, force)
            facts = facts.model_copy(update={"checked": facts.checked | {"precision": checked}})
        _say(store.add(called, written, facts, replace=replace))


def _source(store: Store, file: Path, precision: str | None) -> ModelSource:
    """The file to import, or the model of that name. Raises ModelStoreError."""
    if precision is None or file.is_file() or not is_name(str(file)):
        return ModelSource(file)
    source = store.named(str(file))
    if source.installed is not None:
        source.installed.verify()
    return source


def _called(source: ModelSource, precision: str | None) -> str:
    stem = source.installed.name if source.installed else _slug(source.file.stem)
    if precision is None:
        return stem
    return f"{stem[: NAME_MAX - len(precision) - 1].rstrip('._-')}-{precision}"


def _imported(
    source: ModelSource, written: Path, name: str, labels: Path | None,
    size: tuple[int, int] | None, licence: str | None,
) -> tuple[ModelFacts, ModelSpec]:  # fmt: skip
    """Write the file that workers run, and say what is known of it."""
    # Imported here: a frontend's host has none of it.
    from worker.model.files import is_checkpoint
    from worker.model.importing import import_onnx

    file, export = source.file, source.file
    if is_checkpoint(file):
        print(f"{file} is a checkpoint: PyTorch makes an ONNX model of it ...", flush=True)
        export = written.parent / f"{file.stem}.onnx"
        training_env.convert(file, export, size)
    print(f"{file}: running it on test pictures ...", flush=True)
    made = import_onnx(export, written, name=name, labels=labels, input_size=size)
    print(f"What was written, against the original {made.parity}.")
    for note in made.notes:
        print(f"Note: {note}.")
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
    if source.installed is None:
        return facts, made.spec
    # What is known of an installed model stands over what its file says.
    known = source.installed.facts
    kept: dict[str, object] = {
        "source": f"{source.installed.name} {source.installed.version}",
        "score_threshold": known.score_threshold,
        "iou_threshold": known.iou_threshold,
    }
    if labels is None:
        kept["labels"] = known.labels
    if licence is None:
        kept["licence"] = known.licence
    return facts.model_copy(update=kept), made.spec


def _pictures(settings: Settings, folder: Path, facts: ModelFacts) -> list[NDArray[np.uint8]]:
    from worker.model.photographs import pictures_in

    return pictures_in(folder, *facts.input_size, settings)


def _reduced(
    source: Path, target: Path, precision: ReducedPrecision, facts: ModelFacts, spec: ModelSpec,
    pictures: list[NDArray[np.uint8]], force: bool,
) -> dict[str, JsonValue]:  # fmt: skip
    """Write it in fewer bits; what that costs is said and returned, and refused if it is much."""
    from worker.model.precision import convert

    spec = dataclasses.replace(
        spec, labels=facts.labels, score_threshold=facts.score_threshold,
        iou_threshold=facts.iou_threshold,
    )  # fmt: skip
    made = convert(source, target, precision.value, spec, pictures)
    print(f"In {precision.value}: {made}.")
    if objection := made.agreement.objection:
        if not force:
            raise ModelError(f"{precision.value}: {objection}. --force installs it all the same")
        print(f"Note: {objection}.")
    return {
        "to": precision.value,
        "calibrated_with": made.calibrated_with,
        "original_bytes": made.original_bytes,
        **vars(made.agreement),
    }


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
