"""The bare loop: N processes that do the plain work of one image after another, no server.

    python -m benchmarks.throughput.bare MODEL PICTURE THREADS [--infer]

One such process; `Loops` starts N of them and keeps them for the whole run. Each reads a line
`START SECONDS PAUSE` (monotonic clock) and answers with one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.throughput.process import ROOT, environment

#: Seconds between saying when to begin and beginning.
LEAD_S = 0.2


@dataclass(frozen=True)
class BareRun:
    """What N loops did in one run."""

    images_per_s: float
    cpu_ms_per_image: float
    #: Milliseconds of each image.
    image_ms: list[float]

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.image_ms)


class Loops:
    """N waiting processes of one model, as a context manager."""

    def __init__(
        self, model: Path, picture: Path, processes: int, threads: int = 1, *, infer: bool = False
    ) -> None:
        self._command = [
            sys.executable, "-m", "benchmarks.throughput.bare", str(model), str(picture),
            str(threads), *(["--infer"] if infer else []),
        ]  # fmt: skip
        self._count = processes
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        for _ in range(self._count):
            self._processes.append(
                subprocess.Popen(
                    self._command,
                    cwd=ROOT,
                    env=environment(),
                    text=True,
                    bufsize=1,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
        for process in self._processes:
            self._line(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def _line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("a bare loop ended")
        return line

    def run(self, seconds: float, pause_s: float = 0.0) -> BareRun:
        """All loops at once; `pause_s` is slept between two images."""
        start = time.monotonic() + LEAD_S
        for process in self._processes:
            assert process.stdin
            print(start, seconds, pause_s, file=process.stdin, flush=True)
        found: list[dict[str, Any]] = [json.loads(self._line(p)) for p in self._processes]
        image_ms = [value for one in found for value in one["image_ms"]]
        return BareRun(
            images_per_s=sum(len(one["image_ms"]) / one["seconds"] for one in found),
            cpu_ms_per_image=sum(one["cpu_s"] for one in found) * 1e3 / len(image_ms),
            image_ms=image_ms,
        )


def main() -> None:
    """Serve one loop until standard input ends."""
    from benchmarks.throughput.vision import Vision

    model, picture, threads, *rest = sys.argv[1:]
    vision = Vision(model, int(threads))
    data = Path(picture).read_bytes()
    planes = vision.prepare(data)[0]
    work = (lambda: vision.infer(planes)) if rest else (lambda: vision.answer(data))
    for _ in range(3):
        work()
    print("ready", flush=True)
    for line in sys.stdin:
        start, seconds, pause_s = map(float, line.split())
        time.sleep(max(0.0, start - time.monotonic()))
        image_ms: list[float] = []
        cpu, began = time.process_time(), time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            work()
            image_ms.append((time.perf_counter() - now) * 1e3)
            if pause_s:
                time.sleep(pause_s)
        ended = time.perf_counter()
        answer = {"seconds": ended - began, "cpu_s": time.process_time() - cpu}
        print(json.dumps(answer | {"image_ms": image_ms}), flush=True)


if __name__ == "__main__":
    main()
