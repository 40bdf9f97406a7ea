"""Clocks of hosts that are stepped by an hour, forward and back, while everything runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clocks import ClockedProcess
from tests.integration import pictures
from tests.servers import PATIENCE_S, RedisProcess, eventually, free_port

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
TOKEN = "a-token-for-telemetry-00"
#: What a request may take on a busy machine; far less than a step.
REQUEST_MS = 120_000.0
#: Milliseconds by which a busy machine may be late to look at a clock.
NEAR_MS = 5000.0


class Clock:
    """The time of day of one host, read again and again from a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.step(0)

    def step(self, ahead_s: int) -> None:
        """From now on it is ahead of the true time by so much."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}s\n")
        new.replace(self._path)
        self.ahead_s = ahead_s

    def environment(self) -> dict[str, str]:
        """What says where the time of day is read from."""
        return {"FAKETIME_TIMESTAMP_FILE": str(self._path), "FAKETIME_NO_CACHE": "1"}


def skew(client: httpx.Client, trace_id: str) -> list[float]:
    """By how much a trace says the worker's clock was ahead of the frontend's; empty so far."""
    answer = client.get(f"/api/v1/traces/{trace_id}")
    spans = answer.json() if answer.status_code == 200 else []
    return [
        span["attributes"].get("damoscope.clock.skew_ms", 0.0)
        for span in spans
        if span["name"] == "queue_wait"
    ]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "redis") as server:
        yield server


def test_clocks_that_are_stepped(redis: RedisProcess, tmp_path: Path) -> None:
    """Images before, between and after the steps are answered; no stage is longer than its
    request; jobs that were finished are still there; workers stay known; nothing is restarted."""
    here, there = Clock(tmp_path / "frontend.clock"), Clock(tmp_path / "worker.clock")
    port = free_port()
    base = {"REDIS_URL": redis.url, "DAMOSCOPE_THREADS": "1", "DAMOSCOPE_PROVIDER": "cpu"}
    frontend_env = base | {
        "DAMOSCOPE_PORT": str(port), "DAMOSCOPE_PAGES": "false", "DAMOSCOPE_OTLP_TOKEN": TOKEN,
        "DAMOSCOPE_RATE_LIMIT": "1000/minute",
    }  # fmt: skip
    worker_env = base | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}/otlp",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-damoscope-token={TOKEN}",
    }  # fmt: skip
    run = [sys.executable, "-m", "run"]
    with (
        ClockedProcess(
            [*run, "frontend"], tmp_path / "frontend", frontend_env, here.environment()
        ) as frontend,
        ClockedProcess(
            [*run, "worker"], tmp_path / "worker", worker_env, there.environment()
        ) as worker,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, trust_env=False
        ) as client,
    ):

        def ready() -> bool:
            try:
                return client.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        frontend.until(ready, "the frontend and its worker")
        jobs = []
        for clock, ahead_s in (
            (here, 0), (here, 3600), (there, 3600), (here, -3600), (there, -3600), (there, 0),
        ):  # fmt: skip
            clock.step(ahead_s)
            answer = client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
            assert answer.status_code == 200, (ahead_s, answer.text, worker.output)
            result = answer.json()
            timings = result["timings_ms"]
            assert all(0 <= ms <= REQUEST_MS for ms in timings.values()), timings
            assert max(timings.values()) == timings["total"]
            jobs.append(result["job_id"])
            skew_ms = eventually(lambda: skew(client, result["trace_id"]), "the trace")  # noqa: B023
            expected_ms = (there.ahead_s - here.ahead_s) * 1000.0
            assert skew_ms == [pytest.approx(expected_ms, abs=NEAR_MS)]
            assert ready()
        for job in jobs:
            state = client.get(f"/api/v1/jobs/{job}")
            assert state.status_code == 200, state.text
            assert state.json()["status"] == "finished"
        assert frontend.running, frontend.output
        assert worker.running, worker.output
