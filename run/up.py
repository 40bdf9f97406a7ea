"""`damoscope up`: Redis, frontend, workers and watcher of a single machine, run together."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from frontend.identity.start import keys_needed
from frontend.identity.tokens import new_token
from pipeline.connection import redis_url
from pipeline.errors import ConfigurationError
from pipeline.queue.pools import Pool
from pipeline.setting_values import WORKERS_MAX
from pipeline.settings import Kept, Settings, variable
from run import addresses, checks, health, redis_files
from run.environment import with_settings
from run.processes import (
    LEAVE_S,
    CannotStart,
    NotReady,
    Program,
    Stopped,
    Supervisor,
    stop_on_signals,
)
from run.redis_server import RedisServer
from telemetry import variables

log = logging.getLogger("damoscope")

#: Exit code with which our own processes say that their settings are at fault.
BAD_SETTINGS = 2
#: How our own processes are started.
OWN = (sys.executable, "-m", "run")
#: Seconds that Redis may take to answer, and all of it to become ready, before we say so.
REDIS_START_S, SLOW_START_S = 10.0, 30.0


def up(settings: Settings) -> None:
    """Start everything, keep it running until SIGINT, SIGTERM or SIGHUP, stop it in order.

    Raises ConfigurationError when a setting cannot be used; nothing is left running.
    """
    began = time.monotonic()
    stop_on_signals()
    supervisor = Supervisor()
    try:
        with checks.locked_home(settings.home, settings.base_url):
            for port in _ports(settings):
                checks.port(settings.host, port)
            checks.model(settings)
            needed = keys_needed(settings)
            try:
                chores = _start(supervisor, settings)
                print(_ready_message(settings, time.monotonic() - began, needed), flush=True)
                supervisor.keep_running(chores)
            finally:
                supervisor.stop()
    except CannotStart as error:
        if error.exit_code == BAD_SETTINGS:  # it has said which
            raise SystemExit(BAD_SETTINGS) from None
        raise
    except Stopped:
        return


def _start(supervisor: Supervisor, settings: Settings) -> list[Callable[[], None]]:
    """Start everything; returns what is to be done while it runs."""
    chores = []
    if settings.prometheus_url is None:
        # The first frontend receives what all of them send, and takes it from nobody else.
        given = settings.otlp_token
        token = given.get_secret_value() if given is not None else new_token()
        settings = settings.model_copy(update={"otlp_token": SecretStr(token)})
        variables.send_to(os.environ, f"{settings.base_url}/otlp", token)
    if settings.redis_url is not None:
        checks.redis(settings)
    else:
        server = RedisServer(settings.home)
        own = {"redis_url": SecretStr(server.url), "keep_images": kept_here(settings)}
        settings = settings.model_copy(update=own)
        _start_redis(supervisor, server, settings.home / "redis" / "redis.log")
        server.tidy()  # now, while nobody waits for it
        chores.append(server.tidy)
    programs = workers(settings)
    print(f"damoscope: starting {len(programs)} worker(s) and the frontend ...", flush=True)
    supervisor.start(*frontends(settings))
    others = supervisor.start(*programs)
    try:
        supervisor.wait_until_ready(SLOW_START_S, but=others)  # a frontend is when a worker is
    except NotReady:
        print("damoscope: still waiting for the first worker ...", flush=True)
        supervisor.wait_until_ready(but=others)
    # Not before: images can be detected without it, and starting costs cores.
    supervisor.start(watcher(settings))
    return chores


def kept_here(settings: Settings) -> Kept | None:
    """What is kept of images where Redis is this machine's own: pictures, unless something else is
    said, or their traces are seen elsewhere."""
    if settings.keep_images is None and settings.prometheus_url is None:
        return "thumbnails"
    return settings.keep_images


def _start_redis(supervisor: Supervisor, server: RedisServer, log_file: Path) -> None:
    program = redis(server)
    for may_be_damaged in (True, False):
        supervisor.start(program)
        try:
            supervisor.wait_until_ready(REDIS_START_S)
            return
        except CannotStart as error:
            supervisor.stop([program.name])
            lost = server.repair() if may_be_damaged and not isinstance(error, NotReady) else ""
            if not lost:
                raise ConfigurationError(
                    f"Redis does not start; {log_file} says why. If its data is damaged, put "
                    f"{log_file.parent / redis_files.FILES} back from a copy, or move it to "
                    "another place to begin with nothing"
                ) from None
            log.error("%s", lost)


# -- what runs -----------------------------------------------------------------------------------
# Workers and watcher stop first: they finish what is in hand while Redis is there. The first
# frontend receives the others' last telemetry. A frontend waits for no worker once there is none,
# so stopping takes 10 seconds at most, unless workers of other hosts finish images.


def redis(server: RedisServer) -> Program:
    """Redis with its data in the data folder."""
    return Program(
        name="Redis",
        command=server.command(),
        ready=health.redis(server.url),
        stop_order=3,
        stop_timeout_s=1.0,
    )


def frontends(settings: Settings) -> list[Program]:
    """The frontend with the pages and those without, each on a port of its own.

    They are ready when a worker is.
    """
    first, *others = _ports(settings)
    command = [*OWN, "frontend"]
    environment = with_settings("frontend", settings)
    return [
        _own(
            "frontend", command, environment, _readyz(settings, first), 2,
            settings.drain_s + LEAVE_S, (settings.host, first),
        ),
        *(
            _own(
                f"frontend on port {port}", [*command, "--port", str(port), "--no-pages"],
                environment, _readyz(settings, port), 1,
                settings.drain_s + LEAVE_S, (settings.host, port),
            )
            for port in others
        ),
    ]  # fmt: skip


def workers(settings: Settings) -> list[Program]:
    """As many as the settings say, of each model that has queues of its own, too. All of them
    share the cores."""
    beside = settings.workers_beside
    count = min(settings.workers + sum(beside.values()), WORKERS_MAX)
    environment = with_settings("worker", settings.model_copy(update={"workers": count}))
    url = redis_url(settings)

    def program(number: int, model: str = "") -> Program:
        # Sentinels would be asked again and again by who has other things to do.
        ready = health.always if "+sentinel" in url else health.worker(url, Pool(model))
        command, of = [*OWN, "worker"], f" of {model}" if model else ""
        serves = {variable("serves"): model} if model else {}
        return _own(f"worker {number}{of}", command, environment | serves, ready)

    return [
        *(program(number) for number in range(1, settings.workers + 1)),
        *(program(number, model) for model in beside for number in range(1, beside[model] + 1)),
    ]


def watcher(settings: Settings) -> Program:
    """Alerts, notifications and reports."""
    return _own("watcher", [*OWN, "watcher"], with_settings("watcher", settings))


def _own(
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    ready: health.Check = health.always,
    stop_order: int = 0,
    stop_timeout_s: float = 3.5,
    listens: tuple[str, int] | None = None,
) -> Program:
    return Program(
        name,
        command,
        environment,
        ready,
        stop_order,
        stop_timeout_s,
        fatal_exit_code=BAD_SETTINGS,
        listens=listens,
    )


def _ports(settings: Settings) -> range:
    return range(settings.port, settings.port + settings.frontends)


def _readyz(settings: Settings, port: int) -> health.Check:
    return health.http(f"{settings.model_copy(update={'port': port}).base_url}/readyz")


def _ready_message(settings: Settings, after_s: float, keys: bool) -> str:
    first, *others = addresses.reached(settings)
    return "\n".join(
        [
            f"damoscope: ready after {after_s:.1f} s",
            f"  pages  {first}/",
            *(f"         {each}/" for each in others),
            f"  API    {first}/docs",
            *(f"  API    port {port}, without pages" for port in _ports(settings)[1:]),
            f"  data   {settings.home.resolve()}",
            f"  open   {addresses.who(settings, keys)}",
            "  Ctrl-C stops everything",
        ]
    )
