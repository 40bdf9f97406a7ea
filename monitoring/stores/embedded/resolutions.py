"""Resolutions in which metrics are kept: finer for a while, coarser for long."""

from __future__ import annotations

import math

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

#: Bucket length in seconds, and how long buckets of it are kept (None: as long as
#: the settings say). Every reading is added to all of them when it arrives, so a
#: coarse bucket is exactly the sum of its fine ones and no job has to roll up.
LEVELS: tuple[tuple[int, float | None], ...] = (
    (5, 6 * HOUR_S),
    (60, 3 * DAY_S),
    (600, None),
)
#: A window that begins as long ago as a level is kept is still answered from it.
SLACK_S = 900.0


def level_for(start_s: float, now_s: float) -> int:
    """The finest resolution, in seconds, that still has what happened at `start_s`."""
    for seconds, kept_s in LEVELS:
        if kept_s is None or start_s >= now_s - kept_s - SLACK_S / 2:
            return seconds
    return LEVELS[-1][0]


def whole_steps(step_s: float, level: int) -> int:
    """`step_s` rounded up to a whole number of buckets, in seconds."""
    return max(1, math.ceil(step_s / level - 1e-9)) * level
