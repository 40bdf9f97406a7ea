"""The commands of `damoscope model`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from models.catalogue import CatalogueModel, catalogue
from models.errors import ModelStoreError
from models.listing import listed
from models.names import checked_name
from models.store import VERSION_DIGITS, ModelSource, Store, sha256_of
from pipeline.errors import ConfigurationError
from pipeline.queue.workers import WorkerState
from pipeline.settings import Settings, load
from run import extras
from run.models.importing import import_model
from run.models.running import running

app = typer.Typer(help="Models: what there is, and what runs.", no_args_is_help=True)
app.command("import")(import_model)

Home = Annotated[Path | None, typer.Option(help="Data folder (DAMOSCOPE_HOME).")]
Redis = Annotated[str | None, typer.Option("--redis-url", help="Redis to use (REDIS_URL).")]
Name = Annotated[str, typer.Argument(help="Name of the model; `damoscope model list` shows them.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@app.command("list")
def list_models(as_json: Json = False, home: Home = None, redis_url: Redis = None) -> None:
    """List the models: those that ship, are installed, can be fetched, and what runs."""
    settings = load(home=home, redis_url=redis_url)
    workers, problem = running(settings)
    runs = Counter((worker.model, worker.model_version) for worker in workers)
    rows = listed(Store(settings.models_folder), runs)
    if as_json:
        print(
            json.dumps(
                {
                    "models": [row.model_dump(mode="json") for row in rows],
                    "running": problem or "known",
                }
            )
        )
        return
    head = ("NAME", "STATE", "VERSION", "CLASSES", "INPUT", "BYTES", "WORKERS")
    table = [head, *((
        row.name, row.state, row.version or "", str(row.classes or ""), _size(row.input_size),
        f"{row.bytes:,}" if row.bytes else "", str(row.workers or ""),
    ) for row in rows)]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(map(str.ljust, line, widths)).rstrip())
    if problem:
        print(f"\nWhat runs is not known: {problem}.")


@app.command()
def info(
    name: Name,
    as_json: Json = False,
    file_only: Annotated[
        bool, typer.Option("--file", help="Only where its file lies, for other programs.")
    ] = False,
    home: Home = None,
    redis_url: Redis = None,
) -> None:
    """Tell all that is known of a model, read its file, and load it as a worker would."""
    settings = load(home=home, redis_url=redis_url)
    if file_only:
        print(Store(settings.models_folder).named(name).file)
        return
    store, known = Store(settings.models_folder), catalogue().get(checked_name(name))
    installed = store.get(name)
    if installed is None and known is None:
        raise ModelStoreError(f"there is no model {name}; `damoscope model list` shows all")
    said: dict[str, Any] = {"name": name, "state": "available"}
    if known is not None:
        said |= _known(known)
    if installed is not None:
        said |= {"state": "installed", "file": str(installed.file), "version": installed.version}
        said |= installed.facts.model_dump(mode="json", exclude={"name"})
        installed.verify()
        said |= _loaded(settings, ModelSource(installed.file, installed))
    elif known is not None and (file := known.bundled_file):
        sha256 = sha256_of(file)
        said |= {"state": "bundled", "file": str(file), "bytes": file.stat().st_size,
                 "sha256": sha256, "version": sha256[:VERSION_DIGITS]}  # fmt: skip
        said |= _loaded(settings, ModelSource(file))
    workers, problem = running(settings)
    said["workers"] = problem or [
        worker.name for worker in workers if _runs(worker, name, said.get("version"))
    ]
    if as_json:
        print(json.dumps(said, ensure_ascii=False))
        return
    if "card" in said:
        said["card"] = said["card"]["source"]
    if "about" in said:
        said["about"] = said["about"]["en"]
    width = max(map(len, said))
    for key, value in said.items():
        print(f"{key.replace('_', ' '):<{width}}  {_readable(value)}")


@app.command()
def pull(
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--from", help="The file itself, had otherwise: no network.")
    ] = None,
    home: Home = None,
) -> None:
    """Fetch a model of the catalogue, check that it is the one that is meant, and install it."""
    extras.require("worker")
    from run.models.pulling import pull as run

    installed = run(load(home=home), name, file)
    labels = installed.facts.labels
    print(
        f"{name} is installed (version {installed.version}, {len(labels)} classes): try it with\n"
        f"  damoscope detect --model {name} photo.jpg"
    )


@app.command()
def use(
    name: Annotated[
        str | None, typer.Argument(help="Name of the model; `damoscope model list` shows them.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Back to the model of each worker's own settings.")
    ] = False,
    home: Home = None,
    redis_url: Redis = None,
) -> None:
    """Have running workers take another model, one after the other; those that start run it too.

    No request fails meanwhile. Where a worker cannot load it, that one goes on with what it has.
    """
    if (name is None) is not reset:
        raise ConfigurationError("give either the name of a model, or --reset")
    from run.models.using import use as run

    if not run(load(home=home, redis_url=redis_url), name):
        raise typer.Exit(1)


@app.command()
def remove(name: Name, home: Home = None, redis_url: Redis = None) -> None:
    """Remove an installed model. One that a worker runs is refused."""
    settings = load(home=home, redis_url=redis_url)
    known = catalogue().get(checked_name(name))
    if known is not None and known.bundled_file:
        raise ModelStoreError(f"{name} ships with damoscope: it cannot be removed")
    workers, _ = running(settings)
    using = sum(worker.model == name for worker in workers)
    if using:
        raise ModelStoreError(
            f"{using} worker{'' if using == 1 else 's'} run{'s' if using == 1 else ''} {name}: "
            "have another model run first (damoscope model use)"
        )
    Store(settings.models_folder).remove(name)
    print(f"{name} is removed")


def _known(model: CatalogueModel) -> dict[str, Any]:
    """What the catalogue says."""
    said = model.model_dump(mode="json", exclude_none=True, exclude={"name", "file", "classes"})
    return said | ({"labels": list(model.labels)} if model.labels else {})


def _loaded(settings: Settings, source: ModelSource) -> dict[str, Any]:
    """What a worker makes of it. Raises ModelError when it could not run it."""
    try:
        extras.require("worker")
    except ConfigurationError:
        return {"loads": "not tried: the worker is not installed here"}
    from worker.model.session import Detector  # imported here: a frontend's host has none

    plain = settings.model_copy(update={"provider": "cpu", "workers": 1})
    detector = Detector(plain, source)
    spec = detector.spec
    return {
        "loads": f"yes, on {detector.provider}",
        "labels": list(spec.labels),
        "input_size": [spec.height, spec.width],
        "score_threshold": spec.score_threshold,
        "iou_threshold": spec.iou_threshold,
        "batch_axis": "free" if detector.free_batch else "1",
    }


def _runs(worker: WorkerState, name: str, version: str | None) -> bool:
    return worker.model == name and worker.model_version == version


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]} x {size[1]}" if size else ""


def _readable(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(str, value)) or "none"
        case dict():
            return "; ".join(f"{key}: {_readable(each)}" for key, each in value.items()) or "none"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
    return str(value)
