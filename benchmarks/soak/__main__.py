"""A service under load for long, whose processes are killed all the while.

    python -m benchmarks.soak [--minutes 30] [--share 0.8] [--kill-every 20] [-o soak.json]

It starts `damoscope up` in a folder of its own, finds the highest rate within a latency as
`damoscope load --search` does, sends a share of it, and kills a worker, the frontend, the watcher
or Redis now and then, until two thirds of the time are over. Ctrl-C ends it early, with a report.
It ends with 1 if an image was lost or answered twice, or a process did not come back.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
from redis import Redis

from benchmarks.soak.kills import Kills
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.report import Soak
from benchmarks.soak.usage import Usage
from benchmarks.throughput.process import HOST, Program, Tree, free_port
from run.load import images
from run.load.clients import Load
from run.load.command import uvloop_runner
from run.load.connection import Target
from run.load.figures import Figures, at_percentile, figures
from run.load.plan import ArrivalRate, Plan, goal
from run.load.search import best, search

#: Share of the time in which processes are killed; in the rest memory shows whether it grows.
KILLING = 2 / 3
#: Seconds after the last request in which what was accepted must be answered.
PATIENCE_S = 120.0
#: Of each request, so that those that wait while a process comes back are answered.
TIMEOUT_S = 30.0
WARM_UP_S, READINGS = 5.0, 180
#: Fewer than one address may have at a frontend, so that those that look on get in, too.
CONNECTIONS = 400


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.soak", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--minutes", type=_positive, default=30.0, help="default: %(default)g")
    parser.add_argument("--share", type=_positive, default=0.8, help="of the capacity")
    parser.add_argument("--goal", default="p99=1s", help="what the capacity keeps: p99=1s")
    parser.add_argument("--step", type=_positive, default=10.0, help="seconds of each step of that")
    parser.add_argument("--capacity", type=_positive, help="requests a second, instead of looking")
    parser.add_argument("--kill-every", type=_positive, default=20.0, help="mean seconds between")
    parser.add_argument("--back", type=_positive, default=60.0, help="seconds for what was killed")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)),
                        help="default: one a core")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and kills")
    parser.add_argument("--folder", type=Path, help="for the service's data; default: a new one")
    parser.add_argument("-o", "--output", type=Path, help="all figures, as JSON")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number above zero")
    return value


def soak(options: argparse.Namespace, folder: Path) -> Soak:
    """Start a service, and everything that is done to it."""
    port = free_port()
    url, home = f"http://{HOST}:{port}", folder / "home"
    program = Program(
        "damoscope", [sys.executable, "-m", "run", "up"],
        {"DAMOSCOPE_HOME": str(home), "DAMOSCOPE_PORT": str(port), "DAMOSCOPE_PROVIDER": "cpu",
         "DAMOSCOPE_WORKERS": str(options.workers)},
    )  # fmt: skip
    with Tree([program], folder) as tree:
        tree.wait_until(lambda: _ready(url))
        if not options.capacity:
            tree.settle()  # what still starts would be taken for a lack of capacity
        with uvloop_runner() as runner:
            return runner.run(_measured(options, tree, url, home / "redis" / "redis.sock"))


async def _measured(options: argparse.Namespace, tree: Tree, url: str, socket: Path) -> Soak:
    target, began = Target.of(url), datetime.now(UTC)
    found = images.read(None)
    query = f"timeout={TIMEOUT_S:g}"
    # Every other client waits for its answer.
    requests = [
        target.request(each.data, each.kind, query if waits else "", preference)
        for each in found
        for waits, preference in ((True, {}), (False, {"prefer": "respond-async"}))
    ]
    waiting = requests[::2]
    capacity, found_by = await _capacity(options, target, waiting)
    rate, seconds = capacity * options.share, options.minutes * 60
    plan = Plan(
        seconds, rate=ArrivalRate(rate, rate), timeout_s=TIMEOUT_S, seed=options.seed,
        connections=CONNECTIONS,
    )  # fmt: skip
    say(f"{options.minutes:g} min at {rate:,.1f} requests a second")

    ledger = Ledger(target, Redis(unix_socket_path=str(socket), socket_timeout=5))
    load = Load(target, requests, plan, ledger.judge)
    kills = Kills(tree.processes, url, options.kill_every, options.back, options.seed)
    usage = Usage(tree.processes, max(1.0, seconds / READINGS))
    over, calm, stop = asyncio.Event(), threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as threads:
        beside = [threads.submit(kills.run, calm), threads.submit(usage.run, stop)]
        settling = asyncio.create_task(ledger.settle(over, PATIENCE_S))
        loop = asyncio.get_running_loop()
        calling = loop.call_later(seconds * KILLING, calm.set)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, load.stop)
        try:
            await load.run()
            calm.set()
            over.set()
            await settling
        finally:
            calling.cancel()
            settling.cancel()
            calm.set()
            stop.set()
        for each in beside:
            each.result()  # what went wrong in a thread ends the soak, too
    last_s = max((each.at_s + (each.ready_s or 0) for each in kills.done), default=0.0)
    return Soak(
        began=began, minutes=round(load.sending_s / 60, 2),
        capacity_per_s=capacity, found_by=found_by,
        rate_per_s=rate, back_s=options.back, workers=options.workers, seed=options.seed,
        load=figures(load),
        account=ledger.account, kills=kills.done, usage=usage,
        calm_from_s=max(last_s, min(load.sending_s, seconds * KILLING)),
    )  # fmt: skip


async def _capacity(
    options: argparse.Namespace, target: Target, requests: list[bytes]
) -> tuple[float, str]:
    """Requests a second, and where that is from."""
    if options.capacity:
        return options.capacity, "as given"
    wanted = goal(options.goal)
    await Load(target, requests, Plan(WARM_UP_S, clients=2 * options.workers)).run()

    async def step(rate: float) -> Figures:
        plan = Plan(
            options.step, rate=ArrivalRate(rate, rate), timeout_s=TIMEOUT_S, connections=CONNECTIONS
        )
        load = Load(target, requests, plan)
        await load.run()
        told = figures(load)
        say(f"{rate:>8,.1f}/s  p{wanted.percentile:g} {at_percentile(told, wanted):,.0f} ms")
        return told

    highest = best(await search(step, wanted, lambda: False))
    if highest is None:
        raise SystemExit(f"no rate was found with {wanted}: is the machine busy?")
    return highest[0], f"the highest with {wanted}"


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def say(text: str) -> None:
    """What goes on, for who waits."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, and print the report. 1 if anything was lost."""
    options = parse(arguments)
    if options.output and not options.output.parent.is_dir():
        raise SystemExit(f"{options.output}: there is no folder {options.output.parent}")
    goal(options.goal)  # said before anything is started
    with tempfile.TemporaryDirectory(prefix="damoscope-soak-") as made:
        told = soak(options, options.folder or Path(made))
    if options.output:
        options.output.write_text(told.as_json(), encoding="utf-8")
    print(told.as_text())
    return 0 if told.whole else 1


if __name__ == "__main__":
    sys.exit(main())
