"""Real processes for tests: Redis, workers, the whole service. Whatever is started is stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import psutil
from redis import Redis
from redis.exceptions import RedisError

from run.redis_server import RedisServer
from run.stack.ports import free_port as free_port
from tests.paths import ROOT

#: Seconds for what takes a moment on an idle machine; generous, because CI machines are busy.
PATIENCE_S = 180.0
#: Telemetry arrives soon after it was made.
QUICK_TELEMETRY = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "1000"}

#: What the processes of this test run print, the last one last.
logs: list[Path] = []

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The first true answer of `look`; fails the test, naming `what`, when none comes in time."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {patience_s:g} s for: {what}"
        time.sleep(0.02)
    return found


def caught(process: psutil.Process, look: Callable[[], T], what: str) -> T:
    """Make a process stand still at the moment of which `look` tells, and return what it says.

    It is asked again when the process stands: by then the moment may have passed.
    """

    def look_twice() -> T:
        if not (found := look()):
            return found
        process.suspend()
        eventually(lambda: process.status() == psutil.STATUS_STOPPED, "a process to stand still")
        if not (found := look()):
            process.resume()
        return found

    return eventually(look_twice, what)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without anything that configures damoscope, and with `extra`.

    Processes run the code of this checkout, whatever is installed.
    """
    ours = ("DAMOSCOPE_", "OTEL_", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept["PYTHONPATH"] = str(ROOT)
    return kept | QUICK_TELEMETRY | dict(extra or {})


class Process:
    """A command in a session of its own; what it prints goes to a file."""

    def __init__(
        self, command: list[str], folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "output.log"
        logs.append(self.log)
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                cwd=folder,
                env=environment({"DAMOSCOPE_HOME": str(folder / "var")} | dict(env or {})),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text(encoding="utf-8")

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def family(self) -> list[psutil.Process]:
        """The process and all that descend from it."""
        try:
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def until(self, look: Callable[[], T], what: str) -> T:
        """The first true answer of `look`; fails when the process ends before."""

        def look_again() -> T:
            running = self.running
            found = look()
            assert found or running, f"ended before: {what}\n{self.output}"
            return found

        return eventually(look_again, what)

    def wait_for(self, text: str) -> None:
        """Wait until `text` was printed; fails when the process ends before."""
        self.until(lambda: text in self.output, repr(text))

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Exit code, once the process has ended by itself."""
        return self.popen.wait(patience_s)

    def stop(self) -> None:
        """End the process and all that it started, by force where need be."""
        family = self.family()
        if self.running:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(60)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.popen.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RedisProcess:
    """The Redis that `damoscope up` starts, alone. It can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._server = RedisServer(home)
        self.url = self._server.url
        self.client = Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        self._process = Process(self._server.command(), self._home)
        eventually(lambda: answers(self.client), f"Redis: {self._process.output}")

    def stop(self) -> None:
        """Stop it as a service manager would; what was written is on the disk."""
        self._process.stop()

    def close(self) -> None:
        self.client.close()
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def in_redis_file(mark: bytes, folder: Path) -> bool:
    """Whether the append-only file of a Redis in this folder holds these bytes."""
    for path in folder.rglob("*.aof"):
        with contextlib.suppress(FileNotFoundError):  # it has just been written anew
            if mark in path.read_bytes():
                return True
    return False


def worker(redis_url: str, folder: Path, **env: str) -> Process:
    """`damoscope worker`; wait for its line `ready:`."""
    given = {"REDIS_URL": redis_url, "DAMOSCOPE_THREADS": "1", "DAMOSCOPE_PROVIDER": "cpu"}
    return Process([sys.executable, "-m", "run", "worker"], folder, given | env)


class ConfiguredRedis(Process):
    """Debian's Redis, with a configuration file of its own."""

    def __init__(self, folder: Path, *lines: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "redis.conf").write_text("\n".join([*lines, f"dir {folder}", ""]))
        binary = shutil.which("redis-server")
        assert binary, "the Debian package redis-server is missing"
        super().__init__([binary, str(folder / "redis.conf")], folder)


def answers(redis: Redis) -> bool:
    """Whether a Redis is up and lets this client in."""
    try:
        return bool(redis.ping())
    except RedisError:
        return False


class Service(Process):
    """`damoscope up` on a free port, with its data in `home`, and without pages unless a test wants
    them: they take twice as long to start."""

    def __init__(
        self, home: Path, *, port: int | None = None, pages: bool = False, **env: str
    ) -> None:
        self.home = home
        self.port = port or free_port(int(env.get("DAMOSCOPE_FRONTENDS", "1")))
        self.url = f"http://127.0.0.1:{self.port}"
        given = {
            "DAMOSCOPE_HOME": str(home),
            "DAMOSCOPE_PORT": str(self.port),
            "DAMOSCOPE_PAGES": str(pages).lower(),
            "DAMOSCOPE_WORKERS": "1",
            "DAMOSCOPE_PROVIDER": "cpu",
        }
        super().__init__([sys.executable, "-m", "run", "up"], home, given | env)

    def wait_until_ready(self) -> Self:
        self.wait_for("damoscope: ready after")
        return self

    def children(self, name: str) -> list[psutil.Process]:
        """Processes that this one started and whose command line ends with `name`."""
        found = []
        for process in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                words = [part for part in process.cmdline() if not part.startswith("--fd=")]
                if process.status() != psutil.STATUS_ZOMBIE and words[-1:] == [name]:
                    found.append(process)
        return found

    def redis(self) -> Redis:
        """A client of the Redis that the service started."""
        return Redis(unix_socket_path=str(self.home / "redis" / "redis.sock"))

    def client(self, timeout_s: float = PATIENCE_S) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=timeout_s, trust_env=False)

    def spans(self, trace_id: str, count: int) -> list[dict[str, Any]]:
        """The spans of one trace, once `count` of them have arrived."""
        with self.client() as client:

            def look() -> list[dict[str, Any]]:
                answer = client.get(f"/api/v1/traces/{trace_id}")
                found: list[dict[str, Any]] = answer.json() if answer.status_code == 200 else []
                return found if len(found) >= count else []

            return eventually(look, f"{count} spans of trace {trace_id}")

    def summary(self, trace_id: str) -> dict[str, Any]:
        """The entry of one trace in the list of recent requests, once it is there."""
        with self.client() as client:

            def look() -> dict[str, Any] | None:
                for entry in client.get("/api/v1/traces", params={"limit": 1000}).json():
                    if entry["trace_id"] == trace_id:
                        return dict(entry)
                return None

            return eventually(look, f"trace {trace_id} in the list") or {}


def run(command: list[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end."""
    return subprocess.run(
        command, cwd=folder, env=environment({"DAMOSCOPE_HOME": str(folder / "var")} | env),
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def damoscope(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the `damoscope` command line to its end."""
    return run([sys.executable, "-m", "run", *arguments], folder, **env)


def left_running(folder: Path) -> list[str]:
    """Command lines of the processes that work in `folder`: nothing, when all was stopped."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        facts = process.info
        if facts["status"] != psutil.STATUS_ZOMBIE and (facts["cwd"] or "").startswith(str(folder)):
            found.append(" ".join(facts["cmdline"] or ["?"]))
    return found
