"""Workers and frontends on hosts whose clocks are wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clocks import ClockedProcess, ahead_by
from tests.integration import pictures
from tests.servers import Process, RedisProcess, eventually, free_port

DETECT = "/api/v1/detect"
JPEG = {"content-type": "image/jpeg"}
#: Milliseconds by which a busy machine may be late to look at a clock; less than any skew here.
NEAR_MS = 4000.0
SPANS = 8
#: What the frontend's receiver asks of who sends telemetry.
TOKEN = "a-token-for-telemetry-00"


def sending_to(receiver: str) -> dict[str, str]:
    """The environment of a worker on another host."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-damoscope-token={TOKEN}",
    }


class Frontend(ClockedProcess):
    """`damoscope frontend` alone, with a clock that may be wrong."""

    def __init__(self, redis_url: str, home: Path, ahead_s: int = 0) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        env = {"REDIS_URL": redis_url, "DAMOSCOPE_HOME": str(home), "DAMOSCOPE_PORT": str(port),
               "DAMOSCOPE_PAGES": "false", "DAMOSCOPE_OTLP_TOKEN": TOKEN}  # fmt: skip
        command = [sys.executable, "-m", "run", "frontend"]
        super().__init__(command, home, env, ahead_by(ahead_s))
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def stop(self) -> None:
        self.client.close()
        super().stop()

    def ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def trace(self, trace_id: str) -> dict[str, dict[str, Any]]:
        """Spans of one image by name, once they are all there."""

        def look() -> list[dict[str, Any]]:
            answer = self.client.get(f"/api/v1/traces/{trace_id}")
            found = answer.json() if answer.status_code == 200 else []
            return found if len(found) >= SPANS else []

        return {span["name"]: span for span in eventually(look, f"the spans of {trace_id}")}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "redis") as server:
        yield server


@pytest.mark.parametrize(
    ("worker_s", "frontend_s"), [(-700, 0), (-5, 0), (5, 0), (700, 0), (0, -700), (700, 5)]
)
def test_clocks_that_are_wrong(
    redis: RedisProcess, tmp_path: Path, worker_s: int, frontend_s: int
) -> None:
    """No stage is longer than its request or outside of it, nothing expires, and the trace says
    by how much the worker's clock is ahead of the frontend's."""
    with Frontend(redis.url, tmp_path / "frontend", frontend_s) as frontend:
        env = sending_to(f"{frontend.url}/otlp")
        with clocked_worker(redis.url, tmp_path / "worker", worker_s, env):
            frontend.until(frontend.ready, "the frontend and its worker")
            began = time.monotonic()
            answer = frontend.client.post(DETECT, content=pictures.jpeg(), headers=JPEG)
            lasted_ms = (time.monotonic() - began) * 1000
            assert answer.status_code == 200, answer.text
            timings = answer.json()["timings_ms"]
            assert all(0 <= ms <= lasted_ms for ms in timings.values()), timings
            spans = frontend.trace(answer.headers["x-trace-id"])
    # A request's span ends after its answer has gone out: that is known once it has been stored.
    known_ms = (time.monotonic() - began) * 1000
    root = spans.pop("POST /api/v1/detect")
    for name, span in spans.items():
        assert span["duration_ms"] <= root["duration_ms"] <= known_ms, name
        # But for the round trip by which the worker knows the time.
        after_ms = (span["start_unix_ns"] - root["start_unix_ns"]) / 1e6
        assert -0.1 <= after_ms <= root["duration_ms"] - span["duration_ms"] + NEAR_MS, name
    attributes = spans["queue_wait"]["attributes"]
    expected_ms = (worker_s - frontend_s) * 1000.0
    assert attributes["damoscope.clock.skew_ms"] == pytest.approx(expected_ms, abs=NEAR_MS)


def clocked_worker(redis_url: str, folder: Path, ahead_s: int, env: dict[str, str]) -> Process:
    """`damoscope worker` with a clock that may be wrong."""
    given = {"REDIS_URL": redis_url, "DAMOSCOPE_THREADS": "1", "DAMOSCOPE_PROVIDER": "cpu"}
    command = [sys.executable, "-m", "run", "worker"]
    return ClockedProcess(command, folder, given | env, ahead_by(ahead_s))
