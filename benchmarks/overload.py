"""More than the workers can do: what is answered well, beside what the workers could have done.

    python -m benchmarks.overload [--seconds 60] [--only clients,open] [-o overload.json]

The workers are the service's own, but their model waits without using the CPU, as one waits for a
GPU. So their capacity is known and does not shrink where the load generator takes the machine's
cores: what is missing is lost by admission, queue and frontend, and not for want of processors.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.nullmodel import photo, save_model
from benchmarks.throughput.process import HOST, Program, Tree, free_port
from benchmarks.throughput.sections import scaling
from benchmarks.throughput.servers import Place
from run.load.clients import Load
from run.load.command import uvloop_runner
from run.load.connection import Target
from run.load.figures import Figures, figures
from run.load.plan import ArrivalRate, Plan

TIMEOUT_S = 2.0
#: Clients of a closed loop that keep the workers busy, and no more.
CLIENTS_EACH = 4
#: What is sent beside it, as in docs/reliability.md.
MANY, HONEST, IMPATIENT, HANG_UP_S = 256, 8, 128, 0.2
TIMES_OVER = 10.0
CAMERAS, CAMERA_PER_S, LOUD_PER_S = 9, 0.05, 50.0
#: Within which all is as before.
BACK_S = 5.0
#: What is asked beside an overload, once a second.
LOOKED_AT = ("/healthz", "/readyz", "/")
#: Fewer than one address may have at a frontend.
CONNECTIONS = 400
MIB = 2**20


def say(text: str) -> None:
    """One line, at once."""
    print(text, flush=True)


@dataclass(frozen=True)
class Running:
    """The service under load."""

    tree: Tree
    url: str
    workers: int
    #: Images a second, by how long the model waits.
    capacity: float
    #: A byte for each image that a worker has run.
    runs: Path

    def images_run(self) -> int:
        return self.runs.stat().st_size

    def load(self, plan: Plan, addresses: Sequence[str]) -> Load:
        """Clients that come from these addresses in turn."""
        target, body = Target.of(self.url), photo()
        query = f"timeout={plan.timeout_s:g}"
        requests = [
            target.request(body, "image/jpeg", query, {"x-forwarded-for": address})
            for address in addresses
        ]
        return Load(target, requests, plan)

    def memory_mib(self) -> float:
        """What the frontend has in memory that no other process has."""
        (frontend,) = (each for each in self.tree.processes() if "frontend" in each.cmdline())
        return float(frontend.memory_full_info().uss) / MIB


@contextmanager
def service(workers: int, wait_ms: float) -> Iterator[Running]:
    """Redis, frontend and workers whose model waits so long for each image."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, port = Path(scratch), free_port()
        runs = folder / "runs"
        runs.touch()
        place = Place(folder, port, save_model(folder / "null.onnx"), workers)
        more = {
            "BENCH_WAIT_MS": str(wait_ms), "BENCH_RUNS": str(runs),
            "DAMOSCOPE_TRUSTED_PROXIES": HOST,
        }  # fmt: skip
        programs: list[Program] = [
            replace(each, environment={**each.environment, **more})
            if each.environment else each
            for each in scaling.programs(place)
        ]  # fmt: skip
        url = f"http://{HOST}:{port}"
        with Tree(programs, folder) as tree:
            tree.wait_until(lambda: _ready(url, workers))
            tree.settle()
            yield Running(tree, url, workers, workers * 1e3 / wait_ms, runs)


def _ready(url: str, workers: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.get(f"{url}/api/v1/stats", timeout=5)
        if answer.status_code == 200:
            told = answer.json()
            return (told["workers_busy"] or 0) + (told["workers_idle"] or 0) >= workers
    return False


class Looking:
    """How long health and pages take meanwhile, from a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self.slowest_s = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Looking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        # From an address of its own, as a probe has.
        with httpx.Client(base_url=self._url, headers={"x-forwarded-for": "192.0.2.250"}) as client:
            while not self._stop.wait(1.0):
                for path in LOOKED_AT:
                    began = time.monotonic()
                    client.get(path, timeout=30, follow_redirects=True)
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)


async def _together(*loads: Load) -> list[Figures]:
    await asyncio.gather(*(each.run() for each in loads))
    return [figures(each) for each in loads]


def sent(*loads: Load) -> list[Figures]:
    """What became of them, all at the same time."""
    with uvloop_runner() as runner:
        return runner.run(_together(*loads))


def busy(running: Running, seconds: float) -> Figures:
    """The rate without too much of anything."""
    plan = Plan(seconds, clients=CLIENTS_EACH * running.workers, timeout_s=30.0)
    return sent(running.load(plan, addresses(HONEST)))[0]


def addresses(count: int, network: int = 2) -> list[str]:
    """So many, of documentation's networks."""
    return [f"192.0.{network}.{number + 1}" for number in range(count)]


def overloaded(running: Running, plan: Plan) -> dict[str, Any]:
    """A load that asks for more than there is: what is answered, and how the rest fares."""
    before_mib, before = running.memory_mib(), running.images_run()
    with Looking(running.url) as looking:
        (found,) = sent(running.load(plan, addresses(16)))
    after = running.images_run()
    back = busy(running, BACK_S)
    return {
        "ok_per_s": found.ok_per_s, "counts": found.counts, "run": after - before,
        "latency_ok_ms": found.latency_ok_ms, "slowest_look_s": round(looking.slowest_s, 3),
        "outcomes": found.outcomes,
        "memory_mib": [round(before_mib, 1), round(running.memory_mib(), 1)],
        "back_per_s": back.ok_per_s,
    }  # fmt: skip


def clients(running: Running, seconds: float) -> dict[str, Any]:
    """256 clients that come back at once."""
    return overloaded(running, Plan(seconds, clients=MANY, timeout_s=TIMEOUT_S))


def opened(running: Running, seconds: float) -> dict[str, Any]:
    """Ten times the capacity, whatever the answers do."""
    rate = TIMES_OVER * running.capacity
    return overloaded(
        running,
        Plan(seconds, rate=ArrivalRate(rate, rate), timeout_s=TIMEOUT_S, connections=CONNECTIONS),
    )


def impatient(running: Running, seconds: float) -> dict[str, Any]:
    """Eight of as many addresses, beside 128 of one that hang up. Nine addresses ask, and the eight
    want all they can get: their part is eight ninths, or what eight clients have by themselves."""
    plan = Plan(seconds, clients=HONEST, timeout_s=30.0)
    (alone,) = sent(running.load(plan, addresses(HONEST)))
    before = running.images_run()
    rude = Plan(seconds, clients=IMPATIENT, timeout_s=30.0, hang_up_after_s=HANG_UP_S)
    honest, others = sent(
        running.load(plan, addresses(HONEST)), running.load(rude, addresses(1, network=0))
    )
    return {
        "alone_per_s": alone.ok_per_s, "ok_per_s": honest.ok_per_s, "counts": honest.counts,
        "others": others.counts, "run": running.images_run() - before,
        "fair_per_s": round(alone.ok_per_s * HONEST / (HONEST + 1), 3),
    }  # fmt: skip


def cameras(running: Running, seconds: float) -> dict[str, Any]:
    """Nine cameras with a part of the capacity, beside one that sends fifty images a second."""
    rate = CAMERAS * CAMERA_PER_S * running.capacity
    plan = Plan(seconds, rate=ArrivalRate(rate, rate), timeout_s=30.0)
    loud = Plan(seconds, rate=ArrivalRate(LOUD_PER_S, LOUD_PER_S), timeout_s=30.0)
    (alone,) = sent(running.load(plan, addresses(CAMERAS)))
    beside, other = sent(
        running.load(plan, addresses(CAMERAS)), running.load(loud, addresses(1, network=0))
    )
    return {
        "alone": alone.latency_ok_ms, "beside": beside.latency_ok_ms,
        "counts": beside.counts, "other": other.counts,
    }  # fmt: skip


CASES = {"clients": clients, "open": opened, "impatient": impatient, "cameras": cameras}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.overload", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)d")
    parser.add_argument("--wait-ms", type=float, default=100.0, help="an image; default: 100")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each case; default: 60")
    parser.add_argument("--only", default=",".join(CASES), help="default: %(default)s")
    parser.add_argument("-o", "--output", type=Path, help="all figures, as JSON")
    options = parser.parse_args(arguments)
    options.cases = options.only.split(",")
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    return options


def cpu_s(tree: Tree) -> dict[str, float]:
    """CPU seconds so far, by process."""
    used: dict[str, float] = {"generator": time.process_time()}
    for process in tree.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            words, times = process.cmdline(), process.cpu_times()
            role = (
                "frontend" if "frontend" in words
                else "worker" if any("worker" in word for word in words) else "redis"
            )  # fmt: skip
            used[role] = used.get(role, 0.0) + times.user + times.system
    return used


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write."""
    options = parse(arguments)
    found: dict[str, Any] = {"load": [round(each, 1) for each in os.getloadavg()]}
    with service(options.workers, options.wait_ms) as running:
        found["capacity_per_s"] = running.capacity
        found["uncongested_per_s"] = busy(running, min(15.0, options.seconds)).ok_per_s
        say(json.dumps(found))
        for name in options.cases:
            before = cpu_s(running.tree)
            case = CASES[name](running, options.seconds)
            after = cpu_s(running.tree)
            case["cpu_s"] = {role: round(after[role] - before[role], 1) for role in before}
            found[name] = case
            say(f"{name}: {json.dumps({k: v for k, v in case.items() if k != 'outcomes'})}")
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
        say(f"written: {options.output}")


if __name__ == "__main__":
    main()
