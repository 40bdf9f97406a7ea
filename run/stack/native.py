"""The running stack: all servers up or none, stopped in the reverse order."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from pipeline.errors import ConfigurationError
from run import private_files
from run.processes import Process, Program, Supervisor
from run.stack import app, dotenv, render
from run.stack.binaries import locate
from run.stack.ports import Ports
from run.stack.servers import Layout, servers

ROOT = Path(__file__).resolve().parents[2]
OVERLAY_NONE = "otel-collector.yaml"
#: Seconds for programs that were started together.
READY_S = 180.0


class Stack:
    """Servers, and on request frontend, workers and watcher, as a context manager.

    Data and logs stay in `home` afterwards, so that a second start finds the first one's traces.
    """

    def __init__(
        self,
        home: Path,
        ports: Ports | None = None,
        *,
        overlay: str = OVERLAY_NONE,
        say: Callable[[str], None] = print,
    ) -> None:
        self.ports = ports or Ports()
        self.say = say
        self.layout = Layout(
            root=ROOT,
            home=home.resolve(),
            ports=self.ports,
            binaries=locate(ROOT, say),
            password=_password(home),
            overlay=overlay,
        )
        self.supervisor = Supervisor(self.layout.logs)

    @property
    def processes(self) -> dict[str, Process]:
        """What runs, by name, for tests that kill one."""
        return self.supervisor.processes

    def __enter__(self) -> Stack:
        if taken := self.ports.taken():
            raise ConfigurationError(
                "in use already: " + ", ".join(f"{name} {port}" for name, port in taken.items())
            )
        self._folders()
        try:
            self.start(*servers(self.layout))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, *programs: Program, together: Sequence[Program] = ()) -> None:
        """Start programs, and others together with them, then wait until the former are ready."""
        started = self.supervisor.start(*programs)
        others = self.supervisor.start(*together)
        self.supervisor.wait_until_ready(READY_S, but=others)
        for process in started:
            self.say(f"  {process.program.name:<14} ready ({process.ready_after_s:.1f} s)")

    def start_app(self, workers: int) -> None:
        """Start frontend, watcher and this many workers; wait until one can take an image."""
        self.start(
            app.frontend(self.layout, "/readyz" if workers else "/healthz"),
            app.watcher(self.layout),
            together=self._workers(workers),
        )

    def scale(self, workers: int) -> None:
        """Run exactly this many workers; those too many finish their batch first. Does not wait for
        those that are new."""
        wanted = {program.name: program for program in self._workers(workers)}
        running = {name for name in self.processes if name.startswith("worker-")}
        self.supervisor.stop(running - wanted.keys())
        self.supervisor.start(*(program for name, program in wanted.items() if name not in running))

    def _workers(self, count: int) -> list[Program]:
        return [app.worker(self.layout, number) for number in range(1, count + 1)]

    def stop(self) -> None:
        """Stop everything, what takes images first, the servers they talk to last."""
        self.say("stopping: batches in hand are finished first")
        self.supervisor.stop()

    def _folders(self) -> None:
        private_files.tighten(self.layout.home, private_files.OF_STACK)
        shutil.rmtree(self.layout.config, ignore_errors=True)
        given = os.environ.get("RULES_DIR")
        rules = ROOT / given if given else None
        render.render(ROOT, self.layout.config, self.ports, self.layout.webhook_token, rules)
        dotenv.create_token(self.layout.webhook_token)
        self.layout.logs.mkdir(parents=True, exist_ok=True)
        for program in (*servers(self.layout), app.frontend(self.layout)):
            self.layout.data(program.name).mkdir(parents=True, exist_ok=True)
        self.layout.data("damoscope").mkdir(parents=True, exist_ok=True)


def _password(home: Path) -> str:
    """This stack's Redis password: made once, readable by its owner only."""
    path = home / "redis-password"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(24))
    return path.read_text()
