"""`damoscope up`: Redis, workers, frontend and watcher of a single machine, run together."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from run.redis_server import RedisServer

log = logging.getLogger("damoscope")

#: Exit code with which a process says that its settings are at fault: restarting is no use.
BAD_SETTINGS = 2
#: How our own processes are started.
OWN = (sys.executable, "-m", "run")
#: Seconds between looks at the children.
POLL_S = 0.1
#: Seconds before a dead process is started again; doubled each time, up to the second.
RESTART_S = (0.5, 10.0)
#: Deaths of one process, before the service was ever ready, after which it is given up.
START_TRIES = 3
#: Seconds that Redis may take to answer, and all of it to become ready, before we say so.
REDIS_START_S, SLOW_START_S = 10.0, 30.0
#: Seconds for each kind of process to end by itself when the service stops; 10 in all.
STOP_WORKERS_S, STOP_FRONTENDS_S, STOP_FRONTEND_S, STOP_REDIS_S = 3.5, 2.0, 3.0, 1.0

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Child:
    """A process that is kept running."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    delay_s: float = RESTART_S[0]
    #: When to start it again, once it has died.
    due: float | None = None
    deaths: int = 0


class Stopped(Exception):
    """Everything shall stop: by a signal, or because a process cannot work."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Supervisor:
    """Runs the service until SIGINT or SIGTERM."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._environment = dict(os.environ)
        self._redis: Child | None = None
        self._workers: list[Child] = []
        self._frontends: list[Child] = []
        self._watcher: Child | None = None
        self._stopping = False

    def run(self) -> None:
        """Start everything, keep it running, stop it in order.

        Raises ConfigurationError when a setting cannot be used; nothing is left running.
        """
        began = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with _locked_home(self._settings.home):
            for port in self._ports:
                _check_port(self._settings.host, port)
            _check_model(self._settings.model)
            try:
                self._start()
                self._wait_until_ready(began)
                # Not before: images can be detected without it, and starting costs cores.
                self._watcher = self._spawn("watcher", [*OWN, "watcher"])
                while True:
                    self._look_after_children()
            except Stopped as stopped:
                if stopped.exit_code:
                    raise SystemExit(stopped.exit_code) from None
            finally:
                self._stop()

    def _on_signal(self, *_: object) -> None:
        self._stopping = True

    # -- starting -------------------------------------------------------------------------

    def _start(self) -> None:
        settings = self._settings
        self._environment |= settings.environment()
        if settings.prometheus_url is None:
            self._environment.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", f"{settings.base_url}/otlp")
        self._start_redis()
        print(f"damoscope: starting {settings.workers} worker(s) and the frontend ...", flush=True)
        self._frontends.append(self._spawn("frontend", [*OWN, "frontend"]))
        for port in self._ports[1:]:
            command = [*OWN, "frontend", "--port", str(port), "--no-pages"]
            self._frontends.append(self._spawn(f"frontend on port {port}", command))
        for number in range(1, settings.workers + 1):
            self._workers.append(self._spawn(f"worker {number}", [*OWN, "worker"]))

    def _start_redis(self) -> None:
        if self._settings.redis_url is not None:
            _check_redis(self._settings.redis_url)
            return
        server = RedisServer(self._settings.home)
        self._redis = self._spawn("Redis", server.command())
        self._environment["DAMOSCOPE_REDIS_URL"] = server.url
        redis = Redis(unix_socket_path=str(server.socket))
        deadline = time.monotonic() + REDIS_START_S
        while not _answers(redis):
            if self._redis.process.poll() is not None or time.monotonic() > deadline:
                log_file = self._settings.home / "redis" / "redis.log"
                raise ConfigurationError(f"Redis does not start; {log_file} says why")
            self._pause()
        redis.close()

    def _spawn(self, name: str, command: list[str]) -> Child:
        return Child(name, command, self._popen(command))

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        # A session of its own, so that Ctrl-C reaches only us and we stop them in order;
        # the death signal, so that they do not outlive us whatever happens to us.
        return subprocess.Popen(
            command, env=self._environment, start_new_session=True, preexec_fn=_die_with_parent
        )

    def _wait_until_ready(self, began: float) -> None:
        warned = False
        addresses = [self._settings.model_copy(update={"port": port}) for port in self._ports]
        while not all(_is_ready(f"{each.base_url}/readyz") for each in addresses):
            self._look_after_children()
            if hopeless := [child.name for child in self._children if child.deaths >= START_TRIES]:
                print(f"damoscope: {hopeless[0]} does not start; see above why", file=sys.stderr)
                raise Stopped(1)
            if not warned and time.monotonic() - began > SLOW_START_S:
                print("damoscope: still waiting for the first worker ...", flush=True)
                warned = True
        url = self._settings.base_url
        more = "".join(f"  API    port {port}, without pages\n" for port in self._ports[1:])
        print(
            f"damoscope: ready after {time.monotonic() - began:.1f} s\n"
            f"  pages  {url}/\n"
            f"  API    {url}/docs\n"
            f"{more}"
            f"  data   {self._settings.home.resolve()}\n"
            "  Ctrl-C stops everything",
            flush=True,
        )

    @property
    def _children(self) -> list[Child]:
        alone = (self._redis, self._watcher)
        return [child for child in alone if child] + self._frontends + self._workers

    @property
    def _ports(self) -> range:
        return range(self._settings.port, self._settings.port + self._settings.frontends)

    # -- running --------------------------------------------------------------------------

    def _look_after_children(self) -> None:
        """One look: restart what has died. Raises Stopped."""
        self._pause()
        for child in self._children:
            code = child.process.poll()
            if code is None:
                if time.monotonic() - child.started > RESTART_S[1]:
                    child.delay_s = RESTART_S[0]
                continue
            if code == BAD_SETTINGS and child.deaths == 0:
                raise Stopped(BAD_SETTINGS)  # later on, a file that was edited stops nothing else
            self._restart(child, code)

    def _restart(self, child: Child, code: int) -> None:
        now = time.monotonic()
        if child.due is None:
            child.deaths += 1
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            log.warning(
                "%s ended with %s; starting it again in %.1f s", child.name, how, child.delay_s
            )
            child.due = now + child.delay_s
            child.delay_s = min(child.delay_s * 2, RESTART_S[1])
        elif now >= child.due:
            child.process, child.started, child.due = self._popen(child.command), now, None

    def _pause(self) -> None:
        time.sleep(POLL_S)
        if self._stopping:
            raise Stopped(0)

    # -- stopping -------------------------------------------------------------------------

    def _stop(self) -> None:
        """Workers and watcher first: they finish what is in hand while Redis is there."""
        _end(self._workers + ([self._watcher] if self._watcher else []), STOP_WORKERS_S)
        # The first receives the others' last telemetry.
        _end(self._frontends[1:], STOP_FRONTENDS_S)
        _end(self._frontends[:1], STOP_FRONTEND_S)
        _end([self._redis] if self._redis else [], STOP_REDIS_S)


def _end(children: list[Child], patience_s: float) -> None:
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    deadline = time.monotonic() + patience_s
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s did not stop in time and is killed", child.name)
            child.process.kill()
            child.process.wait()


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _locked_home(home: Path):  # type: ignore[no-untyped-def]
    """Make the data folder ours alone while we run."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = (home / "lock").open("w")
    except OSError as error:
        raise ConfigurationError(f"DAMOSCOPE_HOME={home}: cannot be written: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"DAMOSCOPE_HOME={home}: another damoscope runs there; stop it, or name another "
                "folder"
            ) from None
        yield


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:  # the latter: there is no such port
            raise ConfigurationError(
                f"DAMOSCOPE_PORT={port}: cannot listen on {host}:{port}: "
                f"{getattr(error, 'strerror', None) or error}; set another one"
            ) from error


def _check_model(model: Path) -> None:
    if not model.is_file():  # said once, here, rather than by every worker
        raise ConfigurationError(
            f"DAMOSCOPE_MODEL={model}: there is no such file; set it to a DAMO-YOLO ONNX file"
        )


def _check_redis(url: str) -> None:
    parts = urlsplit(url)
    shown = url.replace(f":{parts.password}@", ":***@") if parts.password else url
    try:
        Redis.from_url(url, socket_connect_timeout=5).ping()
    except (RedisError, ValueError, OSError) as error:
        raise ConfigurationError(f"REDIS_URL={shown}: does not answer: {error}") from error


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
