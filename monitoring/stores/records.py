"""What Prometheus' rules record for long windows, and which parts of a window they cover.

Every 5 minutes, and every hour for longer windows, deploy/prometheus/rules/history.yml records
by how much each counter and histogram grew, and where each level was, with the processes merged. A
record stands for the 5 minutes or the hour before it. What was not recorded (before the rules
were there, while Prometheus was down, since their last evaluation) is added from the raw
samples, so that every request counts once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Final

from monitoring.stores.contract import Series, Window


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one length, and the length of a window from which on they are read."""

    seconds: int
    #: As the names of the records have it.
    every: str
    from_s: float

    @property
    def evaluated(self) -> str:
        """Has a sample for every time that the rules were evaluated."""
        return f"merged:damoscope_history:evaluated{self.every}"


#: The longest first.
RECORDS: Final = (Records(3600, "1h", 5 * 86400.0), Records(300, "5m", 6 * 3600.0))
#: A long window is added up from steps of at most this: raw samples one step loads at once.
STEP_MAX_S: Final = 3600.0
#: Steps of a plot may be this long: there are few of them.
_PLOT_STEP_MAX_S: Final = 86400.0
#: Evaluations come on time to the millisecond; a gap is more than this.
_GAP_S: Final = 1.0


class Steps:
    """A window cut into steps; the last one may be shorter."""

    def __init__(
        self,
        window: Window,
        step_s: float,
        resolution_s: int = 5,
        records: Records | None = None,
    ) -> None:
        if window.seconds <= 0 or step_s <= 0:
            raise ValueError("a window and its steps must be longer than nothing")
        self.window = window
        self.records = records
        self.step_s = max(1, math.ceil(step_s / resolution_s - 1e-9)) * resolution_s
        self.whole = int(window.seconds / self.step_s + 1e-9)
        rest_s = window.seconds - self.whole * self.step_s
        self.rest_s = rest_s if rest_s >= 0.001 else 0.0
        self.count = self.whole + (1 if self.rest_s else 0)

    def series(self, values: Sequence[Any]) -> Series[Any]:
        """The steps' values with their times."""
        return Series(self.window.start_s, self.step_s, tuple(values))

    def starts_s(self, step: int) -> float:
        """Where a step begins, or the window ends."""
        return min(self.window.start_s + step * self.step_s, self.window.end_s)

    def part(self, first: int, last: int) -> Steps:
        """The steps from `first` up to `last`, which is not among them."""
        window = Window(self.starts_s(first), self.starts_s(last))
        return Steps(window, self.step_s, self.step_s, self.records)

    def runs(self, ends: Sequence[float]) -> list[tuple[bool, int, int]]:
        """Stretches of steps, [first, last), with or without a record in each of them."""
        filled = {math.ceil((end - self.window.start_s) / self.step_s - 1e-9) - 1 for end in ends}
        runs = []
        for is_filled, run in groupby(range(self.count), key=lambda step: step in filled):
            steps = list(run)
            runs.append((is_filled, steps[0], steps[-1] + 1))
        return runs

    def before(self, ends: Sequence[float]) -> Steps | None:
        """What the first record stands for and is not of this window."""
        begin = ends[0] - self._record_s if ends else self.window.start_s
        return _one(begin, self.window.start_s) if begin < self.window.start_s - _GAP_S else None

    def pieces(self, ends: Sequence[float]) -> Iterator[tuple[int, Steps]]:
        """The stretches that no record stands for, cut where steps begin.

        Each comes with the step that it belongs to, whatever steps it is cut into itself;
        only one in steps as long as this window's own has a step for each of them.
        """
        for start_s, end_s in self._gaps(ends):
            first = int((start_s - self.window.start_s) / self.step_s + 1e-9)
            first_whole = first + (1 if start_s > self.starts_s(first) + _GAP_S else 0)
            last = int((end_s - self.window.start_s) / self.step_s + 1e-9)
            if first_whole > last:
                yield first, _one(start_s, end_s)
                continue
            if start_s < self.starts_s(first_whole) - _GAP_S:
                yield first, _one(start_s, self.starts_s(first_whole))
            if first_whole < last and self.step_s <= _PLOT_STEP_MAX_S:
                yield first_whole, self.part(first_whole, last)
            elif first_whole < last:
                for step in range(first_whole, last):
                    yield step, _one(self.starts_s(step), self.starts_s(step + 1))
            if self.starts_s(last) < end_s - _GAP_S:
                yield last, _one(self.starts_s(last), end_s)

    @property
    def _record_s(self) -> int:
        return self.records.seconds if self.records else 0

    def _gaps(self, ends: Sequence[float]) -> Iterator[tuple[float, float]]:
        # The first record may stand for what was just before the window, too.
        covered = [(self.window.start_s, self.window.start_s)]
        covered += [(end - self._record_s, end) for end in ends]
        covered.append((self.window.end_s, self.window.end_s))
        for (_, end_s), (start_s, _) in pairwise(covered):
            if start_s - end_s > _GAP_S:
                yield end_s, start_s


def _one(start_s: float, end_s: float) -> Steps:
    """A stretch that belongs to one step, in steps that are not too long."""
    window = Window(start_s, end_s)
    return Steps(window, min(window.seconds, STEP_MAX_S), 1)
