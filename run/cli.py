"""The `damoscope` command line."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from models.errors import ModelStoreError
from pipeline.connection import secrets
from pipeline.errors import ConfigurationError, DamoscopeError
from pipeline.settings import Settings, load, unknown_variables
from pipeline.tiles import readable
from run import extras, images, keys, private_files
from run.evaluate import options
from run.listening import listening
from run.load.options import load as load_command
from run.models import command as models
from run.processes import CannotStart
from telemetry import logs, variables

log = logging.getLogger("damoscope")

app = typer.Typer(
    name="damoscope",
    help="A DAMO-YOLO detection service that can be seen through.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Home = Annotated[Path | None, typer.Option(help="Data folder (DAMOSCOPE_HOME).")]
Host = Annotated[str | None, typer.Option(help="Address to listen on (DAMOSCOPE_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (DAMOSCOPE_PORT).")]
Workers = Annotated[int | None, typer.Option(help="Worker processes (DAMOSCOPE_WORKERS).")]
Model = Annotated[
    Path | None,
    typer.Option(help="DAMO-YOLO ONNX file, or name of an installed model (DAMOSCOPE_MODEL)."),
]
Provider = Annotated[
    str | None,
    typer.Option(help="auto, cuda, tensorrt or cpu (DAMOSCOPE_PROVIDER)."),
]
Insecure = Annotated[
    bool | None,
    typer.Option("--insecure", help="Serve whoever reaches it, without keys (DAMOSCOPE_INSECURE)."),
]
Redis = Annotated[str | None, typer.Option("--redis-url", help="Redis to use (REDIS_URL).")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"damoscope {importlib.metadata.version('damoscope')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def up(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    model: Model = None,
    provider: Provider = None,
    redis_url: Redis = None,
    shadow: Annotated[
        str | None,
        typer.Option(
            help="Have this model look at a share of the images as well, once they are answered, "
            "and compare (DAMOSCOPE_SHADOW)."
        ),
    ] = None,
    insecure: Insecure = None,
) -> None:
    """Run everything on this machine: Redis, workers and the frontend."""
    extras.require("frontend", "worker")
    settings = _serve(
        home=home, host=host, port=port, workers=workers, model=model, provider=provider,
        redis_url=redis_url, shadow=shadow, insecure=insecure,
    )  # fmt: skip
    from run.up import up as run

    run(settings)


@app.command()
def frontend(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    redis_url: Redis = None,
    pages: Annotated[
        bool | None, typer.Option(help="Serve the pages beside the API (DAMOSCOPE_PAGES).")
    ] = None,
    insecure: Insecure = None,
    fd: Annotated[
        list[int] | None,
        typer.Option(hidden=True, help="Sockets that it listens on, opened by who starts it."),
    ] = None,
) -> None:
    """Run the HTTP API and the pages."""
    extras.require("frontend")
    settings = _serve(
        home=home, host=host, port=port, redis_url=redis_url, pages=pages, insecure=insecure
    )
    from frontend.main import run  # imported here: a worker's host needs no Gradio

    run(settings, fd or [one.detach() for one in listening(settings.host, settings.port)])


@app.command()
def worker(
    model: Model = None,
    provider: Provider = None,
    redis_url: Redis = None,
    workers: Workers = None,
    serves: Annotated[
        str | None,
        typer.Option(help="Run this model, for images that ask for it alone (DAMOSCOPE_SERVES)."),
    ] = None,
) -> None:
    """Run one worker process. Start as many as you like, on any host that reaches Redis."""
    extras.require("worker")
    settings = _serve(
        model=model, provider=provider, redis_url=redis_url, workers=workers, serves=serves
    )
    from worker.main import run  # imported here: a frontend's host needs no ONNX Runtime

    run(settings)


@app.command()
def detect(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    score_threshold: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    iou_threshold: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON result a line.")] = False,
    save: Annotated[Path | None, typer.Option(help="Folder for images with boxes.")] = None,
    tiles: Annotated[
        str | None,
        typer.Option(help="Look at tiles as well, for what is small: auto, or like 4x3."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(help='Keep only these, such as "cell phone"; repeat it for several.'),
    ] = None,
    model: Model = None,
    provider: Provider = None,
) -> None:
    """Find objects in image files here and now, without Redis or a service."""
    extras.require("worker")
    settings = _start(
        model=model, provider=provider, score_threshold=score_threshold,
        iou_threshold=iou_threshold, workers=1,
    )  # fmt: skip
    asked = None if tiles is None else readable(tiles)
    from worker.detect_files import run

    if not run(settings, images, as_json=as_json, save=save, tiles=asked, labels=labels or []):
        raise typer.Exit(1)


@app.command("eval")
def evaluate(
    data: options.Data,
    split: options.Part = None,
    images: options.Images = None,
    pairs: options.Pairs = None,
    score_threshold: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    iou_threshold: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    match_iou: options.MatchIou = 0.5,
    false_alarms: options.FalseAlarms = 0.05,
    output: options.Output = None,
    as_json: options.AsJson = False,
    model: Model = None,
    provider: Provider = None,
) -> None:
    """Judge a model by labelled images: average precision, false alarms, the threshold to use."""
    extras.require("worker")
    extras.require("eval")
    settings = _start(
        model=model, provider=provider, score_threshold=score_threshold,
        iou_threshold=iou_threshold, workers=1,
    )  # fmt: skip
    from run.evaluate.command import run

    run(
        settings,
        options.EvalOptions(
            data, split, images, pairs or [], match_iou, false_alarms, output, as_json
        ),
    )


@app.command()
def watcher(home: Home = None, redis_url: Redis = None) -> None:
    """Watch the metrics: raise alerts, send notifications and scheduled reports."""
    extras.require("frontend")
    settings = _serve(home=home, redis_url=redis_url)
    from monitoring.watcher import run

    run(settings)


@app.command()
def report(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write: .html, .md or .json.")
    ],
    days: Annotated[int, typer.Option(min=1, max=30, help="Days up to now.")] = 7,
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
    home: Home = None,
    redis_url: Redis = None,
) -> None:
    """Write a report of the last days, from the service's stores."""
    extras.require("frontend")
    from monitoring.reports.command import run

    run(_start(home=home, redis_url=redis_url), output=output, days=days, language=language)


app.command("load")(load_command)
app.add_typer(images.app, name="images")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="model")
alerts = typer.Typer(help="Alert rules and notifications.", no_args_is_help=True)
app.add_typer(alerts, name="alerts")


@alerts.callback()
def _alerts() -> None:
    extras.require("frontend")


@alerts.command()
def check() -> None:
    """Read the rules and say what they are, or what is wrong with them."""
    from monitoring.alerts.command import check as run

    run(_start())


@alerts.command()
def render(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Default: print.")
    ] = None,
) -> None:
    """Write the rules as Prometheus rules."""
    from monitoring.alerts.command import render as run

    run(_start(), output)


@alerts.command()
def test() -> None:
    """Send a test notification to every channel, and say what became of it."""
    from monitoring.notify.command import test as run

    if not run(_start()):
        raise typer.Exit(1)


slo = typer.Typer(help="Service level objectives.", no_args_is_help=True)
app.add_typer(slo, name="slo")


@slo.callback()
def _slo() -> None:
    extras.require("frontend")


@slo.command("check")
def slo_check() -> None:
    """Read the objectives and say what they are, or what is wrong with them."""
    from monitoring.alerts.command import check_objectives as run

    run(_start())


@slo.command("render")
def slo_render(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Default: print.")
    ] = None,
) -> None:
    """Write the objectives' alerts as Prometheus rules."""
    from monitoring.alerts.command import render_objectives as run

    run(_start(), output)


def _serve(**options: object) -> Settings:
    """The start of a process that stays, and whose files hold images."""
    private_files.keep_private()
    settings = _start(**options)
    private_files.tighten(settings.home)
    return settings


def _start(**options: object) -> Settings:
    variables.check()  # first: OpenTelemetry reads some of them when it is imported
    settings = load(**options)
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    logs.configure(settings.log_level, settings.log_format, secrets(url))
    for name, line in list(unknown_variables(os.environ)):
        log.warning(line)
        del os.environ[name]  # said once: not again by the processes that this one starts
    return settings


def main(command: Callable[[], None] = app) -> None:
    """Run the command line. What a user can mend is one clear line and exit code 2."""
    try:
        command()
    except ConfigurationError as error:
        print(f"damoscope: {error}", file=sys.stderr)
        sys.exit(2)
    except (DamoscopeError, CannotStart, ModelStoreError) as error:
        print(f"damoscope: {error}", file=sys.stderr)
        sys.exit(1)
