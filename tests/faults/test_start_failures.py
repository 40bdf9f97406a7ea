"""A worker that cannot start is said plainly: by `/readyz`, and by who keeps it running."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import httpx
import pytest

from pipeline.errors import ConfigurationError
from pipeline.queue import start_failures
from run.stack import commands
from tests.servers import PATIENCE_S, Process, RedisProcess, eventually, free_port, worker

READYZ = "/readyz"


def test_readyz_says_why_no_worker_starts(tmp_path: Path) -> None:
    """503 with the worker's host and its reason; once it has started, neither is said. What is in
    Redis and is no such note says nothing."""
    with RedisProcess(tmp_path / "redis") as redis:
        port = free_port()
        env = {
            "REDIS_URL": redis.url, "DAMOSCOPE_PORT": str(port), "DAMOSCOPE_PAGES": "false"
        }  # fmt: skip
        frontend = [sys.executable, "-m", "run", "frontend"]
        with Process(frontend, tmp_path / "frontend", env) as served:

            def ready() -> httpx.Response | None:
                assert served.running, served.output
                try:
                    return httpx.get(f"http://127.0.0.1:{port}{READYZ}", timeout=PATIENCE_S)
                except httpx.TransportError:
                    return None

            broken = tmp_path / "broken.onnx"
            broken.write_text("no model")
            with worker(redis.url, tmp_path / "first", DAMOSCOPE_MODEL=str(broken)) as first:
                assert first.wait() == 2, first.output
            for junk in (b"{", b"[]", b"{}", b"null", b"9" * 5000):
                redis.client.lpush(start_failures.KEY, junk)
            eventually(lambda: (a := ready()) is not None and "broken.onnx" in a.text, "the reason")
            answer = ready()
            assert answer is not None
            assert answer.status_code == 503
            assert "does not start" in answer.json()["detail"]
            with worker(redis.url, tmp_path / "second") as second:
                second.wait_for("ready:")
                eventually(lambda: (a := ready()) is not None and a.status_code == 200, "readiness")
                eventually(
                    lambda: (a := ready()) is not None and "does not start" not in a.text,
                    "the reason to be gone",
                )


#: Plays the native stack's process: real programs for workers, of which the third cannot start.
STACK = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from run.processes import Program, Stopped, Supervisor, stop_on_signals
from run.stack import commands
from run.stack.ports import Ports

home = Path(sys.argv[1])
(home / "log").mkdir()

def program(number):
    code = "import time; time.sleep(600)"
    if number == 3:
        code = "print('no such model'); raise SystemExit(3)"
    return Program(f"worker-{number}", [sys.executable, "-c", code], ready=lambda _: number != 3)

class Stack:
    ports = Ports()
    layout = SimpleNamespace(jaeger_has_pages=False)
    supervisor = Supervisor(home / "log")
    processes = supervisor.processes
    def scale(self, workers):
        names = [f"worker-{number}" for number in range(1, workers + 1)]
        self.supervisor.stop(set(self.processes) - set(names))
        new = [n for n in range(1, workers + 1) if f"worker-{n}" not in self.processes]
        self.supervisor.start(*map(program, new))

stack = Stack()
stop_on_signals()
try:
    while True:
        commands._write_state(home, stack)
        time.sleep(0.1)
        stack.supervisor.look_after()
        commands._follow(home, stack)
except Stopped:
    pass
finally:
    stack.supervisor.stop()
"""


def test_scaling_says_which_worker_does_not_start(tmp_path: Path) -> None:
    """`make scale` waits until the workers are ready and says so; one that ends again and again is
    named, with its last words, and the command fails. The others run, and it is tried on."""
    home = tmp_path / "home"
    home.mkdir()
    said: list[str] = []
    command = [sys.executable, "-c", STACK, str(home), "run.stack"]
    with Process(command, tmp_path / "stack") as stack:
        stack.until(lambda: commands.status(home), "the stack")
        commands.scale(home, 2, said.append)
        assert [line.split() for line in said] == [["worker-1", "ready"], ["worker-2", "ready"]]
        with pytest.raises(ConfigurationError, match=r"(?s)1 of 3 .*worker-3 .*no such model"):
            commands.scale(home, 3, said.append)
        state = json.loads((home / commands.STATE).read_text())
        assert state["problems"] == {"worker-3": "exit code 3: no such model"}
        commands.scale(home, 1, said.append)
        assert set(commands.status(home)["processes"]) == {"worker-1"}
        stack.send(signal.SIGINT)
        assert stack.wait() == 0
