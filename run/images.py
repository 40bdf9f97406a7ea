"""`damoscope images`: the pictures that are kept beside traces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from redis.exceptions import RedisError

from pipeline.connection import connect, explain, with_redis
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.queue.kept import purge as delete
from pipeline.queue.kept import rewrite_files
from pipeline.settings import load

app = typer.Typer(
    help="Pictures that are kept beside traces (DAMOSCOPE_KEEP_IMAGES).", no_args_is_help=True
)


@app.callback()
def _images() -> None:
    pass


@app.command()
def purge(
    every: Annotated[bool, typer.Option("--all", help="Delete all of them.")] = False,
    older_than: Annotated[
        float | None, typer.Option(min=0, help="Delete those that are older, in hours.")
    ] = None,
    trace: Annotated[
        str | None, typer.Option(help="Delete those of this trace, by its id.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Data folder (DAMOSCOPE_HOME).")] = None,
    redis_url: Annotated[
        str | None, typer.Option("--redis-url", help="Redis to use (REDIS_URL).")
    ] = None,
) -> None:
    """Delete pictures of a running service; the traces stay."""
    if every + (older_than is not None) + (trace is not None) != 1:
        raise ConfigurationError("say which: --all, or --older-than HOURS, or --trace ID")
    if trace is not None and not re.fullmatch("[0-9a-f]{32}", trace):
        raise ConfigurationError("--trace: an id of a trace has 32 digits from 0 to f")
    settings = with_redis(load(home=home, redis_url=redis_url))
    if settings is None:
        raise ConfigurationError(
            "no service runs in this data folder, and REDIS_URL is not set: where are the pictures?"
        )
    with connect(settings) as redis:
        try:
            count = delete(redis, trace_id=trace, older_s=(older_than or 0) * 3600)
            rewritten = rewrite_files(redis)
        except (RedisError, OSError) as error:
            raise Unavailable(explain(error)) from error
    print(f"{count} picture{'' if count == 1 else 's'} deleted.")
    print(
        "Redis writes its file anew, which is then without them."
        if rewritten
        else "Should Redis have files, they may hold them until it writes them anew."
    )
