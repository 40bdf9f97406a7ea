"""One measurement of a running server by the load generator."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.throughput.process import HOST, ROOT, NotStarted, Tree, environment, free_port
from benchmarks.throughput.servers import Place, Server


@dataclass(frozen=True)
class Measured:
    """What one window of one server gave. Seconds unless the name says otherwise."""

    images_per_s: float
    latencies_s: list[float]
    errors: int
    cpu_ms_per_image: float
    pss_mb: float
    client_cpu_ms_per_image: float

    def latency_ms(self, percentile: float) -> float:
        return float(np.percentile(self.latencies_s, percentile)) * 1e3


@dataclass(frozen=True)
class Running:
    """A server that has answered."""

    server: Server
    tree: Tree
    place: Place
    picture: Path
    started_after_s: float

    def measure(
        self, clients: int, seconds: float, *, warmup_s: float = 1.0, pause_s: float = 0.0,
        images: int = 0,
    ) -> Measured:  # fmt: skip
        """One window. Raises RuntimeError when nothing was answered."""
        command = [
            sys.executable, "-m", "benchmarks.throughput.load", str(self.place.port),
            self.server.path, str(self.picture), "--clients", str(clients),
            "--seconds", str(seconds), "--warmup", str(warmup_s), "--pause", str(pause_s),
            "--images", str(images),
        ]  # fmt: skip
        with subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
        ) as load:
            try:
                assert load.stdout
                lines = iter(load.stdout.readline, "")
                cpu_s = self._at("begin", lines)
                cpu_s = self._at("end", lines) - cpu_s
                pss = self.tree.pss_bytes()
                found = json.loads(next(lines))
            finally:
                load.kill()
        count = len(found["latencies_s"])
        if not count:
            raise RuntimeError(f"no image was answered: {found['first_error']}")
        return Measured(
            images_per_s=count / found["seconds"],
            latencies_s=found["latencies_s"],
            errors=found["errors"],
            cpu_ms_per_image=cpu_s * 1e3 / count,
            pss_mb=pss / 1e6,
            client_cpu_ms_per_image=found["client_cpu_s"] * 1e3 / count,
        )

    def _at(self, word: str, lines: Iterator[str]) -> float:
        """CPU seconds of the server at the moment the load generator says `word`."""
        if next(lines, "").strip() != word:
            raise RuntimeError("the load generator ended")
        return self.tree.cpu_s()

    def answers(self) -> bool:
        """Whether the picture is answered, as any client would see."""
        connection = http.client.HTTPConnection(HOST, self.place.port, timeout=20)
        try:
            connection.request(
                "POST", self.server.path, self.picture.read_bytes(), {"content-type": "image/jpeg"}
            )
            answer = connection.getresponse()
            return answer.status == 200 and b'"detections"' in answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def ready(self) -> bool:
        """It answers, and where its programs say so, each of its workers is ready."""
        text = self.server.says_ready
        if text is not None and self.tree.printed.count(text) < self.place.workers:
            return False
        return self.answers()


@contextmanager
def running(
    server: Server, model: Path, picture: Path, workers: int, **settings: str
) -> Iterator[Running]:
    """The server on a free port in a folder of its own. Raises NotStarted."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        place = Place(folder, free_port(), model, workers, settings)
        programs = server.programs(place)
        for program in programs:
            if not Path(program.command[0]).exists():
                raise NotStarted("it is not installed: make bench-peers installs it")
        with Tree(programs, folder) as tree:
            began = time.monotonic()
            found = Running(server, tree, place, picture, 0.0)
            tree.wait_until(found.ready)
            started_after_s = time.monotonic() - began
            tree.settle()  # a service may answer while parts of it, a watcher, are still starting
            yield Running(server, tree, place, picture, started_after_s)
