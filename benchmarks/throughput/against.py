"""This checkout beside another one, in alternating windows: what a change cost or gained.

    python -m benchmarks.throughput.against ../before --rounds 8

The other checkout (`git worktree add ../before COMMIT`) has an environment of its own (`make
install` there). Both services are up all the time and take turns; each does the same work as
shipped and with the stock model.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.throughput import machine, picture
from benchmarks.throughput.figures import spread, table
from benchmarks.throughput.measure import Measured, Running, running
from benchmarks.throughput.options import BUNDLED, STOCK, NoModel, make_stock
from benchmarks.throughput.process import ROOT, NotStarted, Program
from benchmarks.throughput.servers import CACHE, OURS, Place, Server

CLIENTS = (8, 32)


def server(checkout: Path) -> Server:
    """The service of a checkout."""

    def programs(place: Place) -> list[Program]:
        settings = {
            # The harness' own comes first otherwise.
            "PYTHONPATH": str(checkout),
            "DAMOSCOPE_HOME": str(place.folder / "home"),
            "DAMOSCOPE_PORT": str(place.port),
            "DAMOSCOPE_WORKERS": str(place.workers),
            "DAMOSCOPE_PROVIDER": "cpu",
            # A service as shipped has the model of its own checkout.
            **({} if place.model == BUNDLED else {"DAMOSCOPE_MODEL": str(place.model)}),
        }
        return [Program("damoscope", [str(checkout / ".venv/bin/damoscope"), "up"], settings)]

    return Server(checkout.name, checkout.name, OURS.path, programs)


@contextmanager
def both(before: Path, model: Path, workers: int) -> Iterator[tuple[Running, Running]]:
    """The service of the other checkout and of this one."""
    with ExitStack() as stack:
        image = CACHE / "picture.jpg"
        yield tuple(  # type: ignore[misc]
            stack.enter_context(running(server(checkout), model, image, workers))
            for checkout in (before, ROOT)
        )


def rows(
    name: str, services: tuple[Running, Running], rounds: int, seconds: float
) -> list[list[str]]:
    """One row for each number of clients."""
    found: dict[int, list[tuple[Measured, Measured]]] = {clients: [] for clients in CLIENTS}
    for each in services:
        each.measure(CLIENTS[-1], 2.0)
    for number in range(rounds):
        for clients in CLIENTS:
            # Who goes first changes, so that a machine that slows down favours neither.
            order = services if number % 2 else services[::-1]
            measured = {id(each): each.measure(clients, seconds) for each in order}
            pair = (measured[id(services[0])], measured[id(services[1])])
            found[clients].append(pair)
            rate = pair[1].images_per_s / pair[0].images_per_s
            print(f"  {name}, {clients} clients: {rate:.3f} of the images/s", flush=True)
    return [_row(f"{name}, {clients} clients", pairs) for clients, pairs in found.items()]


def _row(name: str, pairs: list[tuple[Measured, Measured]]) -> list[str]:
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    return [
        name,
        spread([each.images_per_s for each in before], 1),
        spread([each.images_per_s for each in after], 1),
        spread([b.images_per_s / a.images_per_s for a, b in pairs], 3),
        spread([each.cpu_ms_per_image for each in before], 1),
        spread([each.cpu_ms_per_image for each in after], 1),
        str(sum(each.errors for each in before + after)),
    ]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each window")
    options = parser.parse_args()
    before, workers = options.before.resolve(), len(os.sched_getaffinity(0))
    CACHE.mkdir(parents=True, exist_ok=True)
    picture.picture(CACHE / "picture.jpg")
    lines: list[list[str]] = []
    print(machine.now())
    for name, model in (("as shipped", BUNDLED), ("stock", make_stock("ns", STOCK))):
        with both(before, model, workers) as services:
            lines += rows(name, services, options.rounds, options.seconds)
    head = ["", "before, images/s", "after, images/s", "after / before", "before, CPU ms an image",
            "after, CPU ms an image", "errors"]  # fmt: skip
    print("\n".join(table(head, lines)))


if __name__ == "__main__":
    try:
        main()
    except (NoModel, NotStarted) as error:
        sys.exit(f"benchmarks.throughput.against: {error}")
