"""What is seen while a load runs: one line that changes on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from run.load.clients import Load
from run.load.record import kind

#: Seconds between two looks, on a terminal and elsewhere.
EVERY_S, EVERY_PLAIN_S = 1.0, 10.0


class Progress:
    """On the standard error, so that the standard output is the report alone."""

    def __init__(self, load: Load, title: str) -> None:
        self._load, self._title = load, title
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._seen, self._at = 0, 0.0

    def __enter__(self) -> Self:
        if self._live.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._live.stop()

    async def show(self) -> None:
        """Until cancelled."""
        terminal = self._live.console.is_terminal
        while True:
            await asyncio.sleep(EVERY_S if terminal else EVERY_PLAIN_S)
            line = self.line()
            if terminal:
                self._live.update(Text(line, overflow="ellipsis", no_wrap=True), refresh=True)
            else:
                print(line, file=sys.stderr, flush=True)

    def line(self) -> str:
        """What happened since the line before."""
        record, now = self._load.record, self._load.now()
        since, self._seen = self._seen, len(record)
        seconds, self._at = max(now - self._at, 1e-9), now
        if since == self._seen:
            recent = "nothing answered"
        else:
            taken = np.subtract(record.ended[since:], record.due[since:]) * 1e3
            ok = sum(kind(record.names[number]) == "ok" for number in record.outcome[since:])
            recent = (
                f"{ok / seconds:,.1f}/s ok, {(self._seen - since - ok) / seconds:,.1f}/s not, "
                f"p50 {np.median(taken):,.0f} ms, p99 {np.percentile(taken, 99):,.0f} ms"
            )
        return (
            f"{self._title}{now:,.0f} of {self._load.plan.duration_s:,.0f} s: {recent}; "
            f"{self._load.in_flight:,} {'left to answer' if self._load.done else 'under way'}"
        )
