"""What a collector that is away costs: latency, memory, and how soon telemetry is back.

    python -m benchmarks.failopen [--rounds N] [--images N] [--rate N]

Runs the native full stack on free ports with a model that costs next to nothing, so that
what is measured is the service and not the network. The collector's three states take turns,
in an order that rotates, because a machine is never equally busy for long: compare the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.nullmodel import photo, save_model
from run.stack.native import Stack
from run.stack.ports import HOST, Ports

RUNNING, KILLED, HUNG = "running", "killed", "hung"
STATES = (RUNNING, KILLED, HUNG)
#: Seconds after a change before anything is measured.
SETTLE_S = 3.0
MIB = 2**20


@dataclass
class Options:
    """What the command line says."""

    rounds: int
    images: int
    rate: float
    workers: int
    seconds: float


@dataclass
class Figures:
    """What was measured; latencies and recoveries in seconds, by state."""

    latency_s: dict[str, list[list[float]]] = field(default_factory=lambda: {s: [] for s in STATES})
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: {KILLED: [], HUNG: []})
    #: Images sent, then MiB of the frontend and of each worker.
    memory: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)


class Bench:
    """The running stack under measurement."""

    def __init__(self, stack: Stack, options: Options) -> None:
        self._stack, self._options = stack, options
        self._url = f"http://{HOST}:{stack.ports.frontend}/api/v1/detect"
        self._jaeger = f"http://{HOST}:{stack.ports.jaeger}/api/traces/"
        self._photo = photo()

    async def _one(self, client: httpx.AsyncClient) -> tuple[float, str]:
        """Seconds that one request took, and its trace id."""
        began = time.perf_counter()
        answer = await client.post(
            self._url, content=self._photo, headers={"content-type": "image/jpeg"}
        )
        answer.raise_for_status()
        return time.perf_counter() - began, answer.headers["x-trace-id"]

    async def at_rate(self) -> list[float]:
        """Latencies of requests that come at fixed times, whether or not others are done."""
        count = int(self._options.rate * self._options.seconds)
        began = time.perf_counter()

        async def due(number: int, client: httpx.AsyncClient) -> float:
            await asyncio.sleep(began + number / self._options.rate - time.perf_counter())
            return (await self._one(client))[0]

        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            return list(await asyncio.gather(*(due(number, client) for number in range(count))))

    async def as_fast_as_possible(self, count: int) -> None:
        """This many images, sixteen at a time."""
        numbers = iter(range(count))

        async def send(client: httpx.AsyncClient) -> None:
            for _ in numbers:
                await self._one(client)

        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            await asyncio.gather(*(send(client) for _ in range(16)))

    @contextmanager
    def state(self, name: str) -> Iterator[None]:
        """The collector killed or hung while the block runs."""
        collector = self._stack.processes["collector"]
        if name == KILLED:
            collector.signal(signal.SIGKILL)
            collector.join()
        elif name == HUNG:
            collector.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if name == KILLED:
                collector.start()
                self._stack.supervisor.wait_until_ready()
            elif name == HUNG:
                collector.signal(signal.SIGCONT)

    def recovery_s(self) -> float:
        """Seconds until an image that is sent now has its whole trace in Jaeger."""
        began = time.perf_counter()

        async def send() -> str:
            async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
                return (await self._one(client))[1]

        trace_id = asyncio.run(send())
        with httpx.Client(timeout=10, trust_env=False) as client:
            while time.perf_counter() - began < 120:
                answer = client.get(self._jaeger + trace_id)
                if answer.status_code == 200 and len(answer.json()["data"][0]["spans"]) == 8:
                    return time.perf_counter() - began
                time.sleep(0.05)
        return float("inf")

    def memory(self) -> tuple[int, ...]:
        """MiB in use by frontend and workers."""
        found = []
        for name, process in sorted(self._stack.processes.items()):
            if name.startswith(("frontend", "worker")) and process.pid:
                found.append(psutil.Process(process.pid).memory_info().rss // MIB)
        return tuple(found)


def measure(bench: Bench, options: Options) -> Figures:
    """All rounds, then memory with the collector running and with it hung."""
    figures = Figures()
    asyncio.run(bench.as_fast_as_possible(300))  # caches, connections, threads
    for number in range(options.rounds):
        for position in range(len(STATES)):
            state = STATES[(number + position) % len(STATES)]
            with bench.state(state):
                time.sleep(SETTLE_S)
                figures.latency_s[state].append(asyncio.run(bench.at_rate()))
            if state != RUNNING:
                figures.recovery_s[state].append(bench.recovery_s())
                time.sleep(SETTLE_S)
        print(f"round {number + 1} of {options.rounds}", flush=True)
    part = max(1, options.images // 10)
    for state in (RUNNING, HUNG):
        rows = figures.memory.setdefault(state, [(0, *bench.memory())])
        with bench.state(state):
            for sent in range(part, options.images + 1, part):
                asyncio.run(bench.as_fast_as_possible(part))
                rows.append((sent, *bench.memory()))
        print(f"memory with the collector {state}: done", flush=True)
    return figures


def report(figures: Figures, options: Options) -> str:
    """The tables, as Markdown."""
    lines = [
        f"{options.rate:g} requests/s, {options.rounds} rounds of {options.seconds:g} s in each "
        f"state, {options.workers} workers, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}",
        "",
        "| collector | requests | p50 ms | p99 ms | median round's p99 ms | to running |"
        " telemetry back after s |",
        "|---|---|---|---|---|---|---|",
    ]
    # One busy moment of the machine spoils the p99 of all rounds together, but only one round.
    medians = {
        state: statistics.median(float(np.percentile(one, 99)) for one in rounds)
        for state, rounds in figures.latency_s.items()
    }
    for state, rounds in figures.latency_s.items():
        p50, p99 = np.percentile(np.concatenate(rounds), [50, 99])
        recovery = figures.recovery_s.get(state)
        back = f"{statistics.median(recovery):.1f}, most {max(recovery):.1f}" if recovery else ""
        lines.append(
            f"| {state} | {sum(map(len, rounds))} | {p50 * 1e3:.1f} | {p99 * 1e3:.1f} |"
            f" {medians[state] * 1e3:.1f} | {medians[state] / medians[RUNNING]:.2f} | {back} |"
        )
    names = ["frontend", *(f"worker {n}" for n in range(1, options.workers + 1))]
    for state, rows in figures.memory.items():
        lines += ["", f"| images, collector {state} | " + " | ".join(f"{n} MiB" for n in names)]
        lines[-1] += " |"
        lines.append("|---" * (len(names) + 1) + "|")
        lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=5, help="of a round, each state")
    parser.add_argument("--rate", type=float, default=40, help="requests a second")
    parser.add_argument("--images", type=int, default=10_000, help="for memory")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    options = Options(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DAMOSCOPE_MODEL"] = str(save_model(Path(folder) / "null.onnx"))
        with Stack(Path(folder) / "stack", Ports.free()) as stack:
            stack.start_app(options.workers)
            figures = measure(Bench(stack, options), options)
    print(report(figures, options))


if __name__ == "__main__":
    main()
