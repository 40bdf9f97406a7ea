"""What the service costs while nothing comes: CPU and memory of each process, and Redis' work.

    python -m benchmarks.idle [--seconds 60] [--workers 2] [--stack] [-o idle.json]

`damoscope up` as it is by default, or with `--stack` the servers of the full stack around it. It
answers a few images first, so that all of it has been in use, then rests until what they left
behind is done. Of CPU the seconds that a process used are counted, which hold on a busy machine,
too; memory is also counted with pages that processes share split among them (PSS).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import httpx
import psutil
from redis import Redis

from benchmarks.fleet import measure
from benchmarks.soak.kills import roles
from benchmarks.throughput import machine
from benchmarks.throughput.process import HOST, ROOT, Program, Tree, free_port
from run.stack.native import Stack
from run.stack.ports import Ports

#: Images before it, and seconds after which telemetry of them was sent and kept.
IMAGES, SETTLE_S = 20, 20.0

#: Processes by what they are.
Kinds = Mapping[str, Sequence[psutil.Process]]


@dataclass(frozen=True)
class Idle:
    """One kind of process: what each of them takes, on average."""

    kind: str
    processes: int
    #: Milliseconds of CPU in a second.
    cpu_ms: float
    #: Memory in MiB.
    rss: float
    pss: float


@dataclass(frozen=True)
class Running:
    """What is measured."""

    url: str
    kinds: Kinds
    redis: Redis


@contextmanager
def service(workers: int) -> Iterator[Running]:
    """`damoscope up`, with nothing else set."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="idle-") as folder:
        home = Path(folder) / "home"
        given = {
            "DAMOSCOPE_HOME": str(home), "DAMOSCOPE_PORT": str(port),
            "DAMOSCOPE_WORKERS": str(workers), "DAMOSCOPE_PROVIDER": "cpu",
        }  # fmt: skip
        up = Program("up", [sys.executable, "-m", "run", "up"], given)
        url = f"http://{HOST}:{port}"
        with Tree([up], Path(folder)) as tree:
            tree.wait_until(lambda: "damoscope: ready after" in tree.printed)
            with Redis(unix_socket_path=str(home / "redis" / "redis.sock")) as redis:
                yield Running(url, roles(tree.processes()), redis)


@contextmanager
def full_stack(workers: int) -> Iterator[Running]:
    """The same as `make stack`."""
    with (
        tempfile.TemporaryDirectory(prefix="idle-") as folder,
        Stack(Path(folder), Ports.free(), say=lambda _: None) as stack,
    ):
        stack.start_app(workers)
        kinds: dict[str, list[psutil.Process]] = {}
        for name, process in stack.processes.items():
            kinds.setdefault(name.partition("-")[0], []).append(psutil.Process(process.pid))
        with Redis.from_url(stack.layout.redis_url) as redis:
            yield Running(f"http://{HOST}:{stack.ports.frontend}", kinds, redis)


def use(url: str) -> None:
    """Some images, each answered."""
    photo = (ROOT / "examples" / "hand.jpg").read_bytes()
    with httpx.Client(base_url=url, timeout=60) as client:
        for _ in range(IMAGES):
            client.post("/api/v1/detect", files={"image": photo}).raise_for_status()


def measured(running: Running, seconds: float) -> tuple[list[Idle], measure.Cost]:
    """Each kind, and Redis, in a time in which nothing comes."""
    before = {kind: _cpu_s(each) for kind, each in running.kinds.items()}
    redis = measure.idle(running.redis, seconds)
    found = [
        Idle(
            kind, len(each), 1000 * (_cpu_s(each) - before[kind]) / seconds / len(each),
            mean(one.memory_info().rss for one in each) / 2**20,
            mean(one.memory_full_info().pss for one in each) / 2**20,
        )
        for kind, each in running.kinds.items()
        if each
    ]  # fmt: skip
    return found, redis


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in processes)


def table(found: Sequence[Idle], redis: measure.Cost) -> str:
    """In Markdown, and what Redis does beneath it."""
    lines = [
        "| process | of them | CPU, ms a second, each | RSS, MB | PSS, MB |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {each.kind} | {each.processes} | {each.cpu_ms:.1f} | {each.rss:.0f} "
            f"| {each.pss:.0f} |"
            for each in found
        ),
        f"| all | {sum(each.processes for each in found)} "
        f"| {sum(each.processes * each.cpu_ms for each in found):.1f} in all | "
        f"| {sum(each.processes * each.pss for each in found):.0f} in all |",
    ]
    return "\n".join(lines) + (
        f"\n\nRedis: {redis.commands:.1f} commands, {redis.bytes_in / 1000:.1f} kB in and "
        f"{redis.bytes_out / 1000:.1f} kB out a second."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Start, use, rest, measure, print."""
    parser = argparse.ArgumentParser(prog="benchmarks.idle")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stack", action="store_true", help="the full stack")
    parser.add_argument("-o", "--output", type=Path, help="JSON")
    options = parser.parse_args(arguments)
    with (full_stack if options.stack else service)(options.workers) as running:
        use(running.url)
        time.sleep(SETTLE_S)
        found, redis = measured(running, options.seconds)
    print(table(found, redis))
    print(f"\n{options.seconds:g} s, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}.")
    if options.output:
        told = {"processes": [asdict(each) for each in found], "redis": asdict(redis)}
        options.output.write_text(json.dumps({**told, **machine.describe()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
