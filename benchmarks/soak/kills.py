"""Processes of a service that are killed, at random and one after another."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

#: What is killed, and how often beside the others.
WEIGHTS = {"worker": 4, "frontend": 1, "watcher": 1, "redis": 1}
#: Seconds between two looks for what was killed.
LOOK_S = 0.1
#: Shortest and longest pause between two kills, as shares of the mean.
PAUSES = (0.3, 3.0)


@dataclass
class Kill:
    """One of them. Seconds; `at_s` from the start of the load."""

    at_s: float
    role: str
    #: Until as many processes as before were there, and until /readyz was 200; None: not in time.
    back_s: float | None = None
    ready_s: float | None = None


def roles(processes: Sequence[psutil.Process]) -> dict[str, list[psutil.Process]]:
    """Those of a service, by what they are; `up` is the supervisor of all."""
    found: dict[str, list[psutil.Process]] = {role: [] for role in (*WEIGHTS, "up")}
    for process in processes:
        if role := _role(process):
            found[role].append(process)
    return found


def _role(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        command = [part for part in process.cmdline() if not part.startswith("--fd=")]
        if process.status() == psutil.STATUS_ZOMBIE or not command:
            return None
        # A server of Redis writes its title itself: `/path/redis-server 127.0.0.1:0`, in one part.
        program = Path(command[0].split()[0]).name
        if program in ("redis-server", "valkey-server"):
            return "redis"
        if command[1:3] == ["-m", "run"] and command[-1] in ("worker", "frontend", "watcher", "up"):
            return command[-1]
    return None


def order(seed: int) -> Iterator[str]:
    """What is killed next: first each of them once, then by their weights."""
    chance = random.Random(seed)
    first = list(WEIGHTS)
    chance.shuffle(first)
    yield from first
    while True:
        yield chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


class Kills:
    """Kills until `stop` is set; `run` belongs into a thread of its own."""

    def __init__(
        self,
        processes: Callable[[], list[psutil.Process]],
        url: str,
        every_s: float,
        back_s: float,
        seed: int,
    ) -> None:
        self._processes, self._url, self._every_s, self._seed = processes, url, every_s, seed
        self._back_s = back_s
        self.done: list[Kill] = []

    def run(self, stop: threading.Event) -> None:
        """One kill after another. What was killed is back before the next, or given up."""
        began, chance = time.monotonic(), random.Random(self._seed)
        for role in order(self._seed):
            shortest, longest = (share * self._every_s for share in PAUSES)
            pause = min(max(chance.expovariate(1 / self._every_s), shortest), longest)
            if stop.wait(pause):
                return
            before = roles(self._processes())[role]
            if not before:
                continue
            kill = Kill(round(time.monotonic() - began, 1), role)
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(before).kill()
            self.done.append(kill)
            self._watch(kill, {process.pid for process in before})

    def _watch(self, kill: Kill, before: set[int]) -> None:
        """Until it is back, whether or not it is time to stop: at most `back_s`."""
        at = time.monotonic()
        while time.monotonic() - at < self._back_s:
            time.sleep(LOOK_S)
            after_s = round(time.monotonic() - at, 2)
            if kill.back_s is None:
                now = {process.pid for process in roles(self._processes())[kill.role]}
                if len(now) >= len(before) and now != before:
                    kill.back_s = after_s
            elif self._ready():
                kill.ready_s = after_s
                return

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self._url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def as_rows(self) -> list[dict[str, Any]]:
        """For the report."""
        return [asdict(kill) for kill in self.done]
