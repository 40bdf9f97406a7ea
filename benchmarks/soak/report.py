"""What a soak has found, as text and as JSON."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from benchmarks.soak.kills import WEIGHTS, Kill
from benchmarks.soak.ledger import Account
from benchmarks.soak.usage import Usage
from run.load.figures import Figures

MIB = 2**20


@dataclass
class Soak:
    """Everything about one run."""

    began: datetime
    minutes: float
    #: Requests a second that the service carries, how that was found, and what was sent of it.
    capacity_per_s: float
    found_by: str
    rate_per_s: float
    #: Seconds that what was killed may take to be back.
    back_s: float
    workers: int
    seed: int
    load: Figures
    account: Account
    kills: list[Kill]
    usage: Usage
    #: Seconds from the start after which nothing was killed any more.
    calm_from_s: float

    @property
    def whole(self) -> bool:
        """Whether all that was accepted was answered, once, and all that was killed came back."""
        account = self.account
        lossless = account.lost == account.doubled == 0
        return lossless and account.accepted == account.answered and all(
            kill.ready_s is not None for kill in self.kills
        )  # fmt: skip

    def as_json(self) -> str:
        """All figures, for a program."""
        document = {
            "version": version("damoscope"),
            "began": self.began.astimezone(UTC).isoformat(timespec="seconds"),
            "minutes": self.minutes, "cores": os.cpu_count(), "workers": self.workers,
            "seed": self.seed, "capacity_per_s": self.capacity_per_s, "found_by": self.found_by,
            "rate_per_s": self.rate_per_s, "back_s": self.back_s, "whole": self.whole,
            "images": asdict(self.account),
            "kills": [asdict(kill) for kill in self.kills], "calm_from_s": self.calm_from_s,
            "usage": self.usage.as_dict(), "load": asdict(self.load),
        }  # fmt: skip
        return json.dumps(document, indent=1)

    def as_text(self) -> str:
        """The main figures, for a terminal."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        load, account = self.load, self.account
        yield (
            f"{self.minutes:g} min at {self.rate_per_s:,.1f} requests a second, "
            f"{self.rate_per_s / self.capacity_per_s:.0%} of {self.capacity_per_s:,.1f} "
            f"({self.found_by}); {self.workers} workers, {os.cpu_count()} cores, seed {self.seed}"
        )
        counts = ", ".join(f"{name} {count:,}" for name, count in load.counts.items())
        yield f"requests   {load.requests:,}: {counts}"
        for row in load.outcomes:
            if row["kind"] != "ok":
                detail = f"  {row['detail']}" if row["detail"] else ""
                yield f"             {row['requests']:,} {row['outcome']}{detail}"
        ok = load.latency_ok_ms
        yield "latency    " + ", ".join(
            f"{name} {ok[name]:,.0f} ms" for name in ("p50", "p95", "p99", "max") if ok[name]
        )
        yield f"images     answered at once {account.at_once:,}"
        yield (
            f"           accepted for later {account.accepted:,}: answered {account.answered:,}, "
            f"lost {account.lost:,}"
        )
        for why, count in account.reasons.items():
            yield f"             {count:,} {why}"
        yield f"           with two results {account.doubled:,}"
        yield from self._killed()
        yield from self._used()
        yield from load.limits

    def _killed(self) -> Iterator[str]:
        yield f"kills      {len(self.kills)}, none after {self.calm_from_s:,.0f} s"
        for role in WEIGHTS:
            mine = [kill for kill in self.kills if kill.role == role]
            back = [kill.ready_s for kill in mine if kill.ready_s is not None]
            late = len(mine) - len(back)
            missing = f", {late} not back in {self.back_s:g} s" if late else ""
            if back:
                yield (
                    f"  {role:<9}{len(mine):>3}  back and ready after p50 "
                    f"{statistics.median(back):.1f} s, at most {max(back):.1f} s{missing}"
                )
            elif mine:
                yield f"  {role:<9}{len(mine):>3}  none back in {self.back_s:g} s"

    def _used(self) -> Iterator[str]:
        """Of the part without kills, in which no process was replaced."""
        yield "used       once nothing was killed any more: first, last and highest reading"
        for role, found in self.usage.between(self.calm_from_s).items():
            memory = " / ".join(f"{value / MIB:,.0f}" for value in found["memory"])
            handles = " / ".join(f"{value:,}" for value in found["handles"])
            yield f"  {role:<9} {memory} MiB, {handles} open files"
