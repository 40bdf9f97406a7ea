"""Redis' clock, by which waits, deadlines and leases are told: hosts' own clocks differ."""

from __future__ import annotations

import time

#: Nanoseconds by which the time of day has moved against the time that passed, where it was set.
STEP_NS = 50_000_000


class RedisClock:
    """How far a clock of this process is ahead of Redis'.

    Each round trip that brings back Redis' time is a bound: Redis looked at its clock after the
    command was sent and before the answer came. An estimate within the bounds is kept, so that
    a slow round trip changes nothing and the quickest one counts; one outside of them follows.
    """

    def __init__(self, ahead_ns: int | None = None) -> None:
        #: Nanoseconds; None until something is known.
        self.ahead_ns = ahead_ns

    def seen(self, sent_ns: int, redis_ns: int, answered_ns: int) -> int:
        """Redis said `redis_ns` between two moments of this process' clock. Returns `ahead_ns`."""
        least, most = sent_ns - redis_ns, answered_ns - redis_ns
        if self.ahead_ns is None:
            self.ahead_ns = (least + most) // 2
        self.ahead_ns = min(max(self.ahead_ns, least), most)
        return self.ahead_ns


class ClockSteps:
    """Notices when this host's time of day is set, forward or back."""

    def __init__(self) -> None:
        self._difference_ns = time.time_ns() - time.monotonic_ns()

    def happened(self) -> bool:
        """Whether it was set since this was last asked."""
        before_ns = self._difference_ns
        self._difference_ns = time.time_ns() - time.monotonic_ns()
        return abs(self._difference_ns - before_ns) > STEP_NS
