"""The running stack: all servers up or none, stopped in the reverse order."""

from __future__ import annotations

import secrets
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from run.stack import app, health, render
from run.stack.binaries import locate
from run.stack.ports import Ports
from run.stack.process import Process, Program, StackError
from run.stack.servers import Layout, servers

ROOT = Path(__file__).resolve().parents[2]
OVERLAY_NONE = "otel-collector.yaml"


class Stack:
    """Servers, and on request frontend, workers and watcher, as a context manager.

    `processes` holds them by name, for tests that kill one. Data and logs stay in
    `home` afterwards, so that a second start finds the first one's traces.
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
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Stack:
        if taken := self.ports.taken():
            raise StackError(
                "in use already: " + ", ".join(f"{name} {port}" for name, port in taken.items())
            )
        self._folders()
        try:
            self.start(servers(self.layout))
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

    def start(self, programs: Iterable[Program]) -> None:
        """Start programs together, then wait for each."""
        started = []
        for program in programs:
            process = Process(program, self.layout.logs)
            self.processes[program.name] = process
            process.start()
            started.append(process)
        for process in started:
            waited_s = process.wait_healthy()
            self.say(f"  {process.program.name:<14} ready ({waited_s:.1f} s)")

    def start_app(self, workers: int) -> None:
        """Start frontend, watcher and this many workers; wait until one can take an image."""
        programs = [app.worker(self.layout, number) for number in range(1, workers + 1)]
        self.start([app.frontend(self.layout), *programs, app.watcher(self.layout)])
        if workers:
            ready = health.http(self.ports.frontend, "/readyz")
            waited_s = self.processes["frontend"].wait_healthy(check=ready)
            self.say(f"  {'detection':<14} ready ({waited_s:.1f} s)")

    def scale(self, workers: int) -> None:
        """Run exactly this many workers; those too many finish their batch first."""
        wanted = [app.worker(self.layout, number) for number in range(1, workers + 1)]
        kept = {program.name for program in wanted}
        running = {name for name in self.processes if name.startswith("worker-")}
        surplus = sorted(running - kept)
        for name in surplus:
            self.processes[name].signal(signal.SIGTERM)
        self.start(program for program in wanted if program.name not in running)
        for name in surplus:
            self.processes.pop(name).join()

    def restart_dead(self) -> list[str]:
        """Start again what has ended by itself, as Compose's restart policy does."""
        dead = [name for name, process in self.processes.items() if process.pid is None]
        for name in dead:
            self.processes[name].start()
        return dead

    def stop(self) -> None:
        """Stop everything, what takes images first, the servers they talk to last."""
        groups = [
            [name for name in self.processes if name == "frontend"],
            [name for name in self.processes if name.startswith("worker-")],
            ["watcher"],
            ["collector"],
            [name for name in self.processes if name not in ("collector", "redis")],
            ["redis"],
        ]
        for group in groups:
            processes = [self.processes.pop(name) for name in group if name in self.processes]
            for process in processes:
                process.signal(signal.SIGTERM)
            for process in processes:
                process.join()

    def _folders(self) -> None:
        shutil.rmtree(self.layout.config, ignore_errors=True)
        render.render(ROOT, self.layout.config, self.ports)
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
