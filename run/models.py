"""`damoscope model`: the models that ship, are installed, can be fetched, and run."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError

from models.catalogue import CatalogueModel, catalogue
from models.errors import ModelStoreError
from models.names import checked_name
from models.store import VERSION_DIGITS, ModelSource, Store, sha256_of
from pipeline.connection import connect_async, explain, with_redis
from pipeline.errors import ConfigurationError
from pipeline.queue.workers import WorkerState, look
from pipeline.settings import Settings, load
from run import extras
from run.model_import import import_model

app = typer.Typer(help="Models: what there is, and what runs.", no_args_is_help=True)
app.command("import")(import_model)

Home = Annotated[Path | None, typer.Option(help="Data folder (DAMOSCOPE_HOME).")]
Redis = Annotated[str | None, typer.Option("--redis-url", help="Redis to use (REDIS_URL).")]
Name = Annotated[str, typer.Argument(help="Name of the model; `damoscope model list` shows them.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]

#: Seconds to ask a running service what runs.
ASK_S = 5.0


@dataclass(frozen=True)
class ModelRow:
    """One model in the list. What is not known is None."""

    name: str
    #: bundled, installed, damaged, available (can be fetched), or running (from a file).
    state: str
    version: str | None = None
    classes: int | None = None
    input_size: tuple[int, int] | None = None
    bytes: int | None = None
    licence: str | None = None
    about: str | None = None
    #: Workers that run it; None where no service could be asked.
    workers: int | None = None


@app.command("list")
def listed(as_json: Json = False, home: Home = None, redis_url: Redis = None) -> None:
    """List the models: those that ship, are installed, can be fetched, and what runs."""
    settings = load(home=home, redis_url=redis_url)
    workers, problem = running(settings)
    rows = _rows(settings, workers)
    if as_json:
        print(json.dumps({"models": [asdict(row) for row in rows], "running": problem or "known"}))
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
def info(name: Name, as_json: Json = False, home: Home = None, redis_url: Redis = None) -> None:
    """Tell all that is known of a model, read its file, and load it as a worker would."""
    settings = load(home=home, redis_url=redis_url)
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
    from run.model_pull import pull as run

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
    from run.model_use import use as run

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


def running(settings: Settings) -> tuple[tuple[WorkerState, ...], str]:
    """The workers of the service that these settings reach, and why they are not known, if so."""
    reached = with_redis(settings)
    if reached is None:
        return (), "no service runs in this data folder, and REDIS_URL is not set"

    async def ask() -> tuple[WorkerState, ...]:
        redis = connect_async(reached)
        try:
            return (await asyncio.wait_for(look(redis), ASK_S)).workers
        finally:
            await redis.aclose()

    try:
        return asyncio.run(ask()), ""
    except (RedisError, OSError) as error:
        return (), explain(error)


def _rows(settings: Settings, workers: tuple[WorkerState, ...]) -> list[ModelRow]:
    store = Store(settings.models_folder)
    runs = Counter((worker.model, worker.model_version) for worker in workers)
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
    counted = [
        ModelRow(**vars(row) | {"workers": runs.pop((row.name, row.version or ""), 0)})
        for row in rows
    ]
    return counted + [
        ModelRow(name, "running", version=version or None, workers=count)
        for (name, version), count in sorted(runs.items())
    ]


def _bundled(model: CatalogueModel) -> ModelRow:
    file = model.bundled_file
    assert file
    return ModelRow(
        model.name, "bundled", version=sha256_of(file)[:VERSION_DIGITS],
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
