"""N workers whose model waits without CPU, as one waits for a GPU: does the service scale?"""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.nullmodel import photo, save_model
from benchmarks.throughput.figures import median, number, spread, table
from benchmarks.throughput.measure import running
from benchmarks.throughput.options import Options
from benchmarks.throughput.process import HOST, Program
from benchmarks.throughput.servers import OURS, Place
from run.redis_server import RedisServer
from telemetry.variables import TOKEN_HEADER

TITLE = "Workers whose model waits"
WORKERS = (1, 2, 4, 8)
WAIT_MS = 20.0
#: By which the frontend's receiver knows the processes of this run.
TOKEN = secrets.token_urlsafe(32)
#: Clients for each worker: one image in work, one taken ahead, and some waiting.
CLIENTS_EACH = 4


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    rounds = min(options.rounds, 3)
    return rounds * sum(options.seconds + 14 + count for count in WORKERS)


def programs(place: Place) -> list[Program]:
    """Redis, workers that wait, and the frontend."""
    home = place.folder / "home"
    server = RedisServer(home)
    settings = {
        "DAMOSCOPE_HOME": str(home),
        "DAMOSCOPE_PORT": str(place.port),
        "DAMOSCOPE_MODEL": str(place.model),
        "DAMOSCOPE_PROVIDER": "cpu",
        "DAMOSCOPE_THREADS": "1",
        "DAMOSCOPE_REDIS_URL": server.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{HOST}:{place.port}/otlp",
        "OTEL_EXPORTER_OTLP_HEADERS": f"{TOKEN_HEADER}={TOKEN}",
        "DAMOSCOPE_OTLP_TOKEN": TOKEN,
        "BENCH_WAIT_MS": str(WAIT_MS),
    }
    python = sys.executable
    worker = [python, "-m", "benchmarks.throughput.waiting_worker"]
    return [
        Program("redis", server.command(), makes=server.socket),
        Program("frontend", [python, "-m", "run", "frontend"], settings),
        *(Program(f"worker-{n + 1}", worker, settings) for n in range(place.workers)),
    ]


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Images a second for each number of workers, each round with all of them."""
    figures: dict[str, Any] = {"images_per_s": {str(count): [] for count in WORKERS}}
    waiting = replace(OURS, programs=programs)
    with tempfile.TemporaryDirectory() as scratch:
        model = save_model(Path(scratch) / "null.onnx")
        picture = Path(scratch) / "photo.jpg"
        picture.write_bytes(photo())
        for _ in range(min(options.rounds, 3)):
            for count in WORKERS:
                with running(waiting, model, picture, count) as server:
                    found = server.measure(CLIENTS_EACH * count, options.seconds)
                figures["images_per_s"][str(count)].append(found.images_per_s)
                say(f"{count} worker(s): {found.images_per_s:.1f} images/s")
    return figures


def render(figures: dict[str, Any]) -> list[str]:
    """Rates, and what one worker would give N times."""
    found = figures["images_per_s"]
    one = median(found["1"])
    rows = []
    for count, values in found.items():
        middle = median(values)
        times = middle / (one * int(count)) if middle and one else None
        ideal = middle * WAIT_MS / 1e3 / int(count) if middle else None
        rows.append([count, spread(values, 1), number(times, 2), number(ideal, 2)])
    head = [f"workers, {WAIT_MS:g} ms an image", "images/s", "/ N times one worker",
            "/ N times 50 a second"]  # fmt: skip
    return table(head, rows)
