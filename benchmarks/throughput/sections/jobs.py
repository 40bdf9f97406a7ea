"""Jobs a second with a model that costs nothing: what the service itself can carry."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.nullmodel import photo, save_model
from benchmarks.throughput.figures import spread, table
from benchmarks.throughput.measure import running
from benchmarks.throughput.options import Options
from benchmarks.throughput.process import NotStarted, Tree, environment
from benchmarks.throughput.queue_rate import jobs_per_s
from benchmarks.throughput.servers import CACHE, OURS, redis

TITLE = "Jobs a second with a model that costs nothing"
CLIENTS = 32
#: Images in one inference: what a CPU and what a GPU has by default.
BATCHES = (1, 16)
JOBS = 3000
STOCK_JOBS = 500


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    return len(BATCHES) * (15 + options.rounds * (options.seconds + 2 + 10)) + options.rounds * 6


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Rates of each round, by batch size."""
    figures: dict[str, Any] = {"http": {}, "cpu_ms": {}, "client_cpu_ms": {}, "queue": {}}
    with tempfile.TemporaryDirectory() as scratch:
        model = save_model(Path(scratch) / "null.onnx")
        picture = Path(scratch) / "photo.jpg"
        picture.write_bytes(photo())
        for batch in BATCHES:
            rows: dict[str, list[float]] = {name: [] for name in figures}
            settings = {"DAMOSCOPE_BATCH_MAX": str(batch), "DAMOSCOPE_QUEUE_MAX": "100000"}
            with running(OURS, model, picture, 1, **settings) as server:
                socket = server.place.folder / "home" / "redis" / "redis.sock"
                for _ in range(options.rounds):
                    found = server.measure(CLIENTS, options.seconds)
                    rows["http"].append(found.images_per_s)
                    rows["cpu_ms"].append(found.cpu_ms_per_image)
                    rows["client_cpu_ms"].append(found.client_cpu_ms_per_image)
                    rows["queue"].append(jobs_per_s(socket, picture.read_bytes(), JOBS))
                    say(
                        f"batches of {batch}: {rows['http'][-1]:.0f}/s over HTTP, "
                        f"{rows['queue'][-1]:.0f}/s from queue to result"
                    )
            for name, values in rows.items():
                figures[name][str(batch)] = values
    figures["simple_worker"] = _simple_worker(options, say)
    return figures


def _simple_worker(options: Options, say: Callable[[str], None]) -> list[float]:
    """Rates of RQ's own SimpleWorker with jobs that do nothing; none where it is not installed."""
    python = CACHE / "rq" / "bin" / "python"
    if not python.exists():
        return []
    rates = []
    with tempfile.TemporaryDirectory() as scratch:
        server, socket = redis(Path(scratch))
        command = [str(python), "-m", "benchmarks.throughput.peers.rq_nothing", str(STOCK_JOBS)]
        try:
            with Tree([server], Path(scratch)):
                for _ in range(options.rounds):
                    done = subprocess.run(
                        command, capture_output=True, text=True, timeout=120, check=True,
                        env=environment({"BENCH_REDIS_SOCKET": str(socket)}),
                    )  # fmt: skip
                    rates.append(float(done.stdout))
        except (NotStarted, subprocess.SubprocessError) as error:
            say(f"stock SimpleWorker is left out: {error}")
    return rates


def render(figures: dict[str, Any]) -> list[str]:
    """A table of rates."""
    rows = [
        [f"damoscope, up to {batch} image(s) a batch", spread(figures["http"][batch], 0),
         spread(figures["cpu_ms"][batch], 2), spread(figures["queue"][batch], 0)]
        for batch in figures["http"]
    ]  # fmt: skip
    stock = figures["simple_worker"]
    rows.append(["stock RQ SimpleWorker, a job that does nothing", "–", "–", spread(stock, 0)])
    head = ["one frontend, one Redis, one worker", f"jobs/s over HTTP, {CLIENTS} clients",
            "CPU ms a job", "jobs/s from queue to result"]  # fmt: skip
    client = [value for values in figures["client_cpu_ms"].values() for value in values]
    note = f"The clients, on the same cores, take {spread(client, 2)} ms of CPU a job."
    return [*table(head, rows), "", note]
