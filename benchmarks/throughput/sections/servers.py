"""Images a second, latency and cost of all servers beside bare loops, interleaved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.throughput.bare import BareRun, Loops
from benchmarks.throughput.figures import median, number, ratio, spread, table
from benchmarks.throughput.install import version
from benchmarks.throughput.measure import Measured, Running, running
from benchmarks.throughput.options import Options
from benchmarks.throughput.servers import OURS, Server

TITLE = "Side by side"
CLIENTS = (8, 32)
#: Seconds to start and stop a server, about.
STARTS_S = {"damoscope": 12, "ray": 40, "bentoml": 16, "litserve": 8}
WARMUP_S = 2.0
#: So often may a server fail before it is no longer tried.
FAILURES = 2


@dataclass(frozen=True)
class Entry:
    """A server with a model."""

    server: Server
    model: Path
    shipped: bool = False


def entries(options: Options) -> list[Entry]:
    """Ours with the stock model, ours as shipped, and the peers."""
    shipped = replace(
        OURS, name="damoscope-shipped", title="damoscope as shipped", path="/api/v1/detect"
    )
    return [
        Entry(replace(OURS, title="damoscope, stock model"), options.stock),
        Entry(shipped, options.bundled, shipped=True),
        *(Entry(peer, options.stock) for peer in options.peers),
    ]


def estimate_s(options: Options) -> float:
    """About how long it takes."""
    windows = len(CLIENTS) * (options.seconds + WARMUP_S + 1)
    one = [
        STARTS_S.get(entry.server.name.partition("-")[0], 6)
        + windows
        + options.seconds * (3 if entry.shipped else 1)
        for entry in entries(options)
    ]
    return options.rounds * (sum(one) + options.seconds)


def measure(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """All rounds. A server that fails twice is left out from then on."""
    asked = entries(options)
    rows: dict[str, Any] = {entry.server.name: _row(entry) for entry in asked}
    figures: dict[str, Any] = {
        "workers": options.workers,
        "seconds": options.seconds,
        "picture_bytes": options.picture.stat().st_size,
        "bare": {"images_per_s": [], "cpu_ms": []},
        "rows": rows,
    }
    with ExitStack() as stack:
        stock, bundled = (
            stack.enter_context(Loops(model, options.picture, options.workers))
            for model in (options.stock, options.bundled)
        )
        for turn in range(options.rounds):
            before = stock.run(options.seconds)
            for entry in asked[turn % len(asked) :] + asked[: turn % len(asked)]:
                row = rows[entry.server.name]
                if row["failures"] >= FAILURES:
                    continue
                own_before = bundled.run(options.seconds) if entry.shipped else before
                try:
                    found = _windows(entry, options, turn)
                except Exception as error:  # whatever one server does must not cost the others
                    row["failures"] += 1
                    say(f"{entry.server.named()}: left out of this round: {error}")
                    found = {}
                own_after = bundled.run(options.seconds) if entry.shipped else None
                after = stock.run(options.seconds)
                own = (own_before, own_after or after)
                for clients, measured in found.items():
                    _note(row["clients"][str(clients)], measured, own, (before, after))
                    say(_line(entry, clients, row["clients"][str(clients)], measured))
                figures["bare"]["images_per_s"].append(after.images_per_s)
                figures["bare"]["cpu_ms"].append(after.cpu_ms_per_image)
                before = after
            say(f"round {turn + 1} of {options.rounds}: bare {before.images_per_s:.1f} images/s")
    return figures


def _row(entry: Entry) -> dict[str, Any]:
    release = "" if entry.server.name.startswith("damoscope") else version(entry.server.name)
    empty = ("images_per_s", "ratio", "ratio_stock", "p50_ms", "p99_ms", "tail", "beside_ms",
             "pss_mb", "errors", "client_cpu_ms")  # fmt: skip
    return {
        "title": entry.server.named(release),
        "failures": 0,
        "clients": {str(clients): {name: [] for name in empty} for clients in CLIENTS},
    }


def _windows(entry: Entry, options: Options, turn: int) -> dict[int, Measured]:
    """One window for each number of clients, in an order that alternates."""
    with running(entry.server, entry.model, options.picture, options.workers) as server:
        return dict(_each(server, options, CLIENTS if turn % 2 == 0 else CLIENTS[::-1]))


def _each(
    server: Running, options: Options, order: tuple[int, ...]
) -> Iterator[tuple[int, Measured]]:
    for clients in order:
        yield clients, server.measure(clients, options.seconds, warmup_s=WARMUP_S)


def _note(
    row: dict[str, list[float]],
    measured: Measured,
    own: tuple[BareRun, BareRun],
    stock: tuple[BareRun, BareRun],
) -> None:
    rates, stock_rates = [run.images_per_s for run in own], [run.images_per_s for run in stock]
    p50, p99 = measured.latency_ms(50), measured.latency_ms(99)
    bare_cpu_ms = sum(run.cpu_ms_per_image for run in own) / 2
    for name, value in {
        "images_per_s": measured.images_per_s,
        "ratio": ratio(measured.images_per_s, *rates),
        "ratio_stock": ratio(measured.images_per_s, *stock_rates),
        "p50_ms": p50,
        "p99_ms": p99,
        "tail": p99 / p50,
        "beside_ms": measured.cpu_ms_per_image - bare_cpu_ms,
        "pss_mb": measured.pss_mb,
        "errors": measured.errors,
        "client_cpu_ms": measured.client_cpu_ms_per_image,
    }.items():
        row[name].append(value)


def _line(entry: Entry, clients: int, row: dict[str, list[float]], measured: Measured) -> str:
    return (
        f"{entry.server.named()}, {clients} clients: {row['images_per_s'][-1]:.1f} images/s, "
        f"{row['ratio'][-1]:.2f} of bare, p50 {row['p50_ms'][-1]:.0f}, "
        f"p99 {row['p99_ms'][-1]:.0f} ms, beside {row['beside_ms'][-1]:.1f} ms CPU, "
        f"{row['pss_mb'][-1]:.0f} MB, {measured.errors} errors"
    )


def render(figures: dict[str, Any]) -> list[str]:
    """One table for each number of clients, and what follows from them."""
    bare = figures["bare"]
    lines = [
        f"Bare loops of the stock model, {figures['workers']} processes of one thread: "
        f"{spread(bare['images_per_s'], 1)} images/s, {spread(bare['cpu_ms'], 1)} ms of CPU an "
        f"image. Windows of {figures['seconds']:g} s; median [lowest–highest] over the rounds."
    ]
    for clients in map(str, CLIENTS):
        head = [f"{clients} clients", "images/s", "/ bare, same model", "/ bare, stock", "p50 ms",
                "p99 ms", "p99 / p50", "CPU ms beside", "memory MB"]  # fmt: skip
        rows = []
        for row in figures["rows"].values():
            found = row["clients"][clients]
            cells = [("images_per_s", 1), ("ratio", 2), ("ratio_stock", 2), ("p50_ms", 0),
                     ("p99_ms", 0), ("tail", 2), ("beside_ms", 1), ("pss_mb", 0)]  # fmt: skip
            wide = {"ratio", "ratio_stock", "tail"}
            rows.append(
                [row["title"]]
                + [
                    spread(found[name], digits) if name in wide
                    else number(median(found[name]), digits)
                    for name, digits in cells
                ]
            )  # fmt: skip
        lines += ["", *table(head, rows)]
    return [*lines, "", *_conclusions(figures)]


def _conclusions(figures: dict[str, Any]) -> list[str]:
    rows = figures["rows"]
    lines = [
        f"- {row['title']} failed in {row['failures']} round(s)."
        for row in rows.values()
        if row["failures"]
    ]
    errors = sum(sum(c["errors"]) for row in rows.values() for c in row["clients"].values())
    lines.append(f"- Answers without detections, or none: {errors:.0f}.")
    for clients in map(str, CLIENTS):
        found = {
            name: median(row["clients"][clients]["ratio_stock"])
            for name, row in rows.items()
            if row["clients"][clients]["ratio_stock"]
        }
        others = {name: value for name, value in found.items() if not name.startswith("damoscope")}
        if not others:
            continue
        best = max(others, key=lambda name: others[name] or 0)
        for name in ("damoscope", "damoscope-shipped"):
            if found.get(name) and others[best]:
                share = number((found[name] or 0) / (others[best] or 1), 2)
                lines.append(
                    f"- {clients} clients: {rows[name]['title']} / best peer "
                    f"({rows[best]['title']}): **{share}**."
                )
    return lines
