"""What one Redis, and one frontend's look at the workers, cost from one worker to a thousand.

    python -m benchmarks.fleet [--workers 1,10,100,250,500,1000] [--seconds 10] [-o fleet.json]
    python -m benchmarks.fleet --draw fleet.json

It records what a real worker sends while it is idle, then lets stub workers send the same
(benchmarks/fleet/stubs.py), and counts by Redis' own figures: first while nothing comes, then while
images come at 100 a second. CPU times are Redis' main thread's; they hold on a machine whose cores
the stubs fill, wall times would not, and are not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks.fleet import measure, page
from benchmarks.fleet.recording import RECORDED_S, Recording, recorded, take_digest
from benchmarks.nullmodel import photo, save_model
from benchmarks.throughput import machine
from benchmarks.throughput.process import HOST, Program, Tree, environment, free_port
from pipeline.queue.keys import WORKERS_KEY
from run.redis_server import find_binary

#: Stubs of one process, images of one measurement, and how many of them come in a second.
EACH, IMAGES, RATE = 125, 1000, 100.0
#: Seconds after which all have beaten, and are where they will be.
SETTLE_S = 5.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.fleet")
    parser.add_argument("--workers", default="1,10,100,250,500,1000")
    parser.add_argument("--seconds", type=float, default=10.0, help="of idling that are counted")
    parser.add_argument("--record", type=float, default=RECORDED_S, help="seconds of a real worker")
    parser.add_argument("--images", type=int, default=IMAGES, help="of each measurement")
    parser.add_argument("-o", "--output", type=Path, help="JSON, with a plot beside it (.svg)")
    parser.add_argument("--draw", type=Path, help="the plot again, of such a JSON, and no more")
    options = parser.parse_args(arguments)
    if options.draw:
        draw(options.draw)
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with redis_server(folder) as port:
            recording = record(port, folder, options.record)
        for count in map(int, options.workers.split(",")):
            with redis_server(folder) as port, stubs(port, folder, recording, count) as redis:
                rows.append(row(redis, port, count, options.seconds, options.images))
            print(page.line(rows[-1]), flush=True)
    found = {"rows": rows, "image_bytes": len(photo()), **machine.now(), **machine.describe()}
    print("\n" + page.table(found))
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
        draw(options.output)


def draw(path: Path) -> None:
    """The plot of what was measured, beside it."""
    path.with_suffix(".svg").write_text(page.plot(json.loads(path.read_text())["rows"]))


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """Redis on a port, which has nothing and keeps nothing."""
    port = free_port()
    binary, _ = find_binary(folder)
    options = {
        "port": str(port), "bind": HOST, "save": "", "appendonly": "no", "maxclients": "10000",
        "dir": str(folder),
    }  # fmt: skip
    command = [
        str(binary),
        *(part for name, value in options.items() for part in (f"--{name}", value)),
    ]
    with Tree([Program("redis", command)], folder) as tree:
        tree.wait_until(lambda: _answers(port))
        yield port


def _answers(port: int) -> bool:
    try:
        with Redis(HOST, port) as redis:
            return bool(redis.ping())
    except OSError:
        return False
    except Exception:  # it is loading
        return False


def record(port: int, folder: Path, seconds: float) -> Recording:
    """What a real worker sends while it is idle."""
    given = {
        "REDIS_URL": f"redis://{HOST}:{port}", "DAMOSCOPE_HOME": str(folder / "home"),
        "DAMOSCOPE_MODEL": str(save_model(folder / "null.onnx")), "DAMOSCOPE_PROVIDER": "cpu",
        "DAMOSCOPE_THREADS": "1", "OTEL_SDK_DISABLED": "true",
    }  # fmt: skip
    worker = Program("worker", [sys.executable, "-m", "run", "worker"], given)
    print(f"recording an idle worker for {seconds:g} s ...", flush=True)
    with Redis(HOST, port) as redis, Tree([worker], folder) as tree:
        tree.wait_until(lambda: bool(redis.scard(WORKERS_KEY)))
        (key,) = redis.smembers(WORKERS_KEY)
        time.sleep(SETTLE_S)
        lines = list(monitored(folder, port, seconds))
        return recorded(lines, key.rpartition(b":")[2], take_digest(redis))


def monitored(folder: Path, port: int, seconds: float) -> Iterator[bytes]:
    """Lines of MONITOR, as `redis-cli` prints them."""
    path = folder / "monitor.txt"
    with path.open("wb") as output:
        listening = subprocess.Popen(
            ["redis-cli", "-h", HOST, "-p", str(port), "MONITOR"],
            stdout=output, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(seconds)
        finally:
            listening.terminate()
            listening.wait()
    yield from path.read_bytes().splitlines()


@contextmanager
def stubs(port: int, folder: Path, recording: Recording, count: int) -> Iterator[Redis]:
    """So many stub workers on this Redis, all of them registered and beating."""
    path = folder / "recording.json"
    recording.write(path)
    with ExitStack() as stack:
        redis = stack.enter_context(Redis(HOST, port))
        for first in range(0, count, EACH):
            prefix = f"s{first // EACH:02}-"
            command = [sys.executable, "-m", "benchmarks.fleet.stubs", str(port), str(path),
                       prefix, str(min(EACH, count - first))]  # fmt: skip
            process = subprocess.Popen(
                command, env=environment(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
            )
            stack.enter_context(process)  # which waits for its end
            stack.callback(process.terminate)
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("the stubs do not start")
        time.sleep(SETTLE_S)
        yield redis


def row(redis: Redis, port: int, count: int, seconds: float, images: int) -> dict[str, Any]:
    """All that is measured with so many. Raises RuntimeError where not all of them live."""
    resting = measure.idle(redis, seconds)
    working = measure.images(redis, port, images, RATE, photo(), resting)
    seen, look_ms = asyncio.run(measure.looks(port))
    if seen != count:
        raise RuntimeError(f"{seen} of {count} workers live: the stubs are late on this machine")
    return {
        "workers": count, "idle": asdict(resting), "image": asdict(working), "look_ms": look_ms,
        "connections": redis.info("clients")["connected_clients"] / count,
        "memory_mb": redis.info("memory")["used_memory"] / 2**20,
    }  # fmt: skip


if __name__ == "__main__":
    main()
