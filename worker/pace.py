"""How many seconds an image takes a worker while others wait: what frontends reckon with."""

from __future__ import annotations

import math
import time

#: Seconds of work after which what was measured before counts for a third.
MEMORY_S = 2.0
#: One batch changes the pace by this factor at most: a single stall says little of the next image.
STEP_MAX = 3.0


class Pace:
    """Smoothed over the last seconds of work; None before the first image.

    An image that has the worker's host for itself runs on more threads than one among many, so it
    counts only until there was another.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._of_a_lone_image = False
        #: Moment of `perf_counter_ns` up to which this worker's time is accounted for.
        self._until_ns = 0

    def batch(self, taken_ns: int, images: int, *, alone: bool) -> None:
        """A batch has just ended in which so many images were run; it was taken at `taken_ns` of
        `perf_counter_ns`, perhaps while the one before was in hand."""
        now_ns = time.perf_counter_ns()
        work_s = (now_ns - max(taken_ns, self._until_ns)) / 1e9
        self._until_ns = now_ns
        if images and work_s > 0:
            self._measured(work_s, images, alone=alone)

    def _measured(self, work_s: float, images: int, *, alone: bool) -> None:
        before, each = self.seconds, work_s / images
        if before is None or (self._of_a_lone_image and not alone):
            self.seconds, self._of_a_lone_image = each, alone
        elif alone == self._of_a_lone_image:
            each = min(max(each, before / STEP_MAX), before * STEP_MAX)
            self.seconds = each + (before - each) * math.exp(-work_s / MEMORY_S)
