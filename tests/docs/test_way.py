"""One image's way as docs/architecture.md tells it is the way that an image takes."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from monitoring.stores.embedded.schema import Readers
from monitoring.stores.embedded.traces import EmbeddedTraces
from monitoring.stores.selection import FILE_NAME
from tests.paths import ROOT
from tests.servers import Process, RedisProcess, eventually, free_port

#: Takes the spans of each image: they go a way of their own.
RECEIVER = "frontend/api/otlp.py"
#: The frontend's of an image; the worker's go nowhere here.
SPANS = 3
PHOTO = (ROOT / "examples" / "desk.jpg").read_bytes()


class Watched(Process):
    """A damoscope command that tells which functions it entered."""

    def __init__(self, folder: Path, *command: str, **env: str) -> None:
        self._told = folder / "entered.jsonl"
        call = [sys.executable, "-m", "tests.docs.entered", str(self._told), *command]
        super().__init__(call, folder, {"PYTHONPATH": str(ROOT)} | env)

    def entered(self) -> set[str]:
        """`path:function` of each function that was entered since the last call."""
        before = self._lines()
        self.send(signal.SIGUSR2)
        eventually(lambda: len(self._lines()) > len(before), "what was entered")
        return set(json.loads(self._lines()[-1]))

    def _lines(self) -> list[str]:
        # Without a line that is still being written.
        return self._told.read_text().split("\n")[:-1] if self._told.exists() else []


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """Finds the files entered for one image, by frontend and worker, not while they are idle."""
    port = free_port()
    with (
        RedisProcess(tmp_path / "redis") as redis,
        Watched(
            tmp_path / "frontend", "frontend", "--no-pages", "--port", str(port),
            DAMOSCOPE_HOME=str(tmp_path / "frontend"), REDIS_URL=redis.url,
            # So often that exports fall into each of the moments that are compared.
            OTEL_METRIC_EXPORT_INTERVAL="500", OTEL_BSP_SCHEDULE_DELAY="100",
        ) as frontend,
        Watched(tmp_path / "worker", "worker", REDIS_URL=redis.url) as worker,
        # Each image by a connection of its own: one that is kept ends at some time or other.
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
    ):  # fmt: skip
        worker.wait_for("ready:")
        eventually(lambda: _ready(client), "a worker that the frontend knows")
        # Asked here, and not by the frontend, which would enter more for it.
        stored = EmbeddedTraces(Readers(tmp_path / "frontend" / FILE_NAME))
        for _ in range(3):  # what happens once is not an image's way
            _detect(client, stored)
        # Nor is what is sent for the first time over a connection of its own: metrics.
        eventually(lambda: _counted(client) == 3, "their metrics")

        def find() -> list[str]:
            frontend.entered()
            worker.entered()
            idle: set[str] = set()
            for _ in range(3):  # what goes on by itself: heartbeats, exports, looks at Redis
                _wait_for_a_beat(redis)
                idle |= frontend.entered() | worker.entered()
            ways = []
            for _ in range(3):  # what comes now and then falls into one of them at most
                _detect(client, stored)
                _wait_for_a_beat(redis)
                ways.append((frontend.entered() | worker.entered()) - idle)
            files = {name.partition(":")[0] for name in set.intersection(*ways)}
            return sorted(files - {RECEIVER})

        yield find


def _wait_for_a_beat(redis: RedisProcess) -> None:
    """Wait until the worker has nothing more to do, and is heard of anew."""
    (key,) = redis.client.smembers("rq:workers")
    eventually(lambda: redis.client.hget(key, "state") == b"idle", "a worker that rests")
    last = redis.client.hget(key, "last_heartbeat")
    eventually(lambda: redis.client.hget(key, "last_heartbeat") != last, "a heartbeat")


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _counted(client: httpx.Client) -> float:
    """Images that the frontend's own store has heard of."""
    figures = client.get("/api/v1/stats", params={"window": 3600}).json()
    return float(sum(figures["requests"].values()))


def _detect(client: httpx.Client, stored: EmbeddedTraces) -> None:
    """An image to its end, which comes after its answer."""
    kind = {"content-type": "image/jpeg"}
    answer = client.post("/api/v1/detect", content=PHOTO, headers=kind)
    assert answer.status_code == 200, answer.text
    trace = answer.headers["x-trace-id"]
    eventually(lambda: len(stored.get(trace)) == SPANS, "its spans")


def test_one_images_way_is_the_documented_one(way: Callable[[], list[str]]) -> None:
    """The architecture page links every file that an image enters, and no other.

    On a busy machine what goes on by itself may fall beside the idle moments, or what is left of an
    image into them: not again and again, as what is told wrongly would.
    """
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = page[page.index("## One image's way") :]
    told = told[: told.index("\n## ", 5)]
    linked = sorted(set(re.findall(r"\]\(\.\./([\w/]+\.py)\)", told)))
    assert any(linked == way() for _ in range(2)) or linked == way()
