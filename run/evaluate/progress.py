"""How far an evaluation is, and how long it will take: on the standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between two lines where there is no terminal.
EVERY_PLAIN_S = 10.0


class ImageProgress:
    """Counts images: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        self._total, self._done = total, 0
        self._began = self._said = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.fields[rate]}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total, rate="")
        self._terminal = console.is_terminal

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._bar.stop()

    def each(self) -> None:
        """One more image was looked at."""
        self._done += 1
        now = time.monotonic()
        rate = self._done / max(now - self._began, 1e-9)
        if self._terminal:
            self._bar.update(self._task, advance=1, rate=f"{rate:,.0f} images/s")
        elif now - self._said >= EVERY_PLAIN_S:
            self._said = now
            print(self.line(rate), file=sys.stderr, flush=True)

    def line(self, rate: float) -> str:
        """What is said without a terminal."""
        left = (self._total - self._done) / rate
        return f"{self._done:,} of {self._total:,} images, {rate:,.0f} a second, {left:,.0f} s left"
