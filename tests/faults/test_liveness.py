"""A frontend and a watcher that are alive and do nothing: noticed, dumped, started again."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import httpx
import psutil

from pipeline.liveness import STALLED_EXIT_CODE
from tests.paths import ROOT
from tests.servers import Process, RedisProcess, Service, eventually

#: Makes the main thread, in which a frontend's event loop and a watcher's queue run, stand still
#: when SIGUSR1 comes. Python runs it at its start.
STALL = """
import signal, time
def stand_still(*_): time.sleep(3600)
signal.signal(signal.SIGUSR1, stand_still)
"""


def stallable(folder: Path) -> dict[str, str]:
    """The environment of processes that SIGUSR1 makes stand still."""
    (folder / "sitecustomize.py").write_text(STALL)
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


def test_a_frontend_whose_event_loop_stands_still(tmp_path: Path) -> None:
    """Says where it stands, ends itself after 15 s and is started again; requests are answered
    again. One that was paused is left alone."""
    with Service(tmp_path / "home", **stallable(tmp_path)) as service:
        service.wait_until_ready()
        (old,) = service.children("frontend")
        old.suspend()
        eventually(lambda: old.status() == psutil.STATUS_STOPPED, "the pause")
        old.resume()
        with service.client() as client:
            assert client.get("/healthz").status_code == 200
        old.send_signal(signal.SIGUSR1)
        service.wait_for("the event loop stood still for 15 s")
        service.wait_for(f"frontend ended with exit code {STALLED_EXIT_CODE}")
        assert 'sitecustomize.py", line 3 in stand_still' in service.output
        with service.client() as client:

            def answers() -> bool:
                try:
                    return client.get("/readyz").status_code == 200
                except httpx.TransportError:  # it is not there yet
                    return False

            eventually(answers, "the next frontend")
        (new,) = service.children("frontend")
        assert new.pid != old.pid


def test_a_watcher_that_hangs(tmp_path: Path) -> None:
    """Says where it hangs, and ends itself. Its keeper starts it again (tests/run/test_up.py)."""
    start = "import monitoring.watcher as w; w.QUEUE_S = 8.0; from run.cli import main; main()"
    with RedisProcess(tmp_path / "redis") as redis:
        env = {"REDIS_URL": redis.url, **stallable(tmp_path)}
        command = [sys.executable, "-c", start, "watcher"]
        with Process(command, tmp_path / "watcher", env) as watcher:
            watcher.wait_for("watching; notifications go to")
            watcher.send(signal.SIGUSR1)
            assert watcher.wait() == STALLED_EXIT_CODE, watcher.output
            assert "the queue of notices stood still for 8 s" in watcher.output
            assert "in stand_still" in watcher.output
