"""A client of the running full stack that keeps a record of all it has sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import httpx

from pipeline.job import DetectionResult
from run.stack.native import Stack
from run.stack.ports import HOST
from telemetry import catalogue
from tests.fullstack.traces import IMAGE, complete
from tests.integration import pictures
from tests.run.stack.servers_api import Servers, eventually
from tests.servers import PATIENCE_S

DETECT = "/api/v1/detect"
#: Only what this service's own processes reported.
OURS = 'job=~"damoscope-.*"'
#: Low, so that even a picture of nothing in particular gives some boxes to count.
OPTIONS = {"score_threshold": 0.01, "max_detections": 5}
#: Seconds that telemetry may take to arrive: an export and a scrape, on a machine that is slow.
ARRIVAL_S = 120.0


@dataclass(frozen=True)
class Load:
    """What was sent between two moments (Unix time)."""

    results: list[DetectionResult]
    began_s: float
    ended_s: float

    @property
    def trace_ids(self) -> set[str]:
        return {result.trace_id for result in self.results}


@dataclass
class Record:
    """Everything that was sent since the service began."""

    #: By route: what was answered 200.
    results: dict[str, list[DetectionResult]] = field(default_factory=lambda: {"api": [], "ui": []})
    #: Trace ids of what was refused as no image, after its bytes were read.
    invalid: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[DetectionResult]:
        return [result for results in self.results.values() for result in results]


class Service:
    """Requests to the frontend, and questions to the servers behind it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.servers = Servers(stack.ports)
        self.url = f"http://{HOST}:{stack.ports.frontend}"
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False)
        self.record = Record()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    # -- sending ---------------------------------------------------------------------------

    def post(self, data: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """POST one image, and record what became of it."""
        answer = self.client.post(
            DETECT, content=data, headers={"content-type": "image/jpeg"} | (headers or {}),
            params=OPTIONS,
        )  # fmt: skip
        if answer.status_code == 200:
            self.record.results["api"].append(DetectionResult.model_validate_json(answer.content))
        else:
            self.record.invalid.append(answer.headers["x-trace-id"])
        return answer

    def detect(self, data: bytes | None = None, **headers: str) -> DetectionResult:
        """The result of one image. Fails when it is refused."""
        answer = self.post(data or pictures.phone(), headers)
        assert answer.status_code == 200, answer.text
        return DetectionResult.model_validate_json(answer.content)

    def send_load(self) -> Load:
        """40 images, four at a time, and two files that are none."""
        began_s = time.time()
        results: list[DetectionResult] = []
        with ThreadPoolExecutor(4) as pool:
            for part in range(4):
                results += pool.map(self.detect, [_picture(n) for n in range(10)])
                if part < 2:
                    assert self.post(b"no image").status_code == 400
                time.sleep(4)
        return Load(results, began_s, time.time())

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """A few images a second while the block runs."""
        over = threading.Event()

        def send() -> None:
            while not over.wait(0.3):
                self.detect()

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send)
            try:
                yield
            finally:
                over.set()
                sending.result()

    # -- asking ----------------------------------------------------------------------------

    def get(self, path: str, **query: Any) -> Any:
        """GET from the frontend, as JSON."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def trace(self, trace_id: str, expected: dict[str, Any] = IMAGE) -> list[dict[str, Any]]:
        """A trace's spans from Jaeger, once they are all there."""
        return eventually(
            lambda: complete(self.servers.spans(trace_id), expected), timeout_s=ARRIVAL_S
        )

    def counted(self) -> bool:
        """Whether Prometheus has counted exactly what was sent."""
        found = self.servers.value(f"sum(damoscope_requests_total{{{OURS}}})")
        done = self.servers.value(
            f'sum(damoscope_stage_duration_seconds_count{{stage="{catalogue.SPAN_NMS}", {OURS}}})'
        )
        images = len(self.record.all)
        return found == images + len(self.record.invalid) and done == images

    def wait_until_counted(self) -> None:
        """Return once Prometheus has counted what was sent."""
        eventually(self.counted, timeout_s=ARRIVAL_S)

    def wait_for_first_metrics(self) -> None:
        """Return once Prometheus knows the frontend, both workers and their rules' sources."""
        eventually(
            lambda: (
                self.servers.value(
                    'count(count by (instance) ({job="damoscope-worker", instance!=""}))'
                )
                == 2
                and self.servers.value("sum(max by (state) (damoscope_workers))") == 2
            ),
            timeout_s=ARRIVAL_S,
        )

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        return self.stack.processes[name].log.read_text(encoding="utf-8")


@lru_cache(maxsize=16)
def _picture(number: int) -> bytes:
    return pictures.phone(320 + 80 * number, 240 + 60 * number)
