"""When to take the next batch while one is in hand."""

from __future__ import annotations

from collections import deque

#: Batches that are looked back on.
MEMORY = 16
#: Preparing takes so many times what it took at most.
MARGIN = 2.0


class Ahead:
    """Not before it is needed, and not too late for it to be ready when the batch in hand is done.

    What a worker has taken is behind what it has in hand, whoever sends an image in the meantime,
    and is no other worker's. So it is left in the queue as long as nobody would wait for it.
    """

    def __init__(self) -> None:
        self._in_hand_s: deque[float] = deque(maxlen=MEMORY)
        self._preparing_s: deque[float] = deque(maxlen=MEMORY)

    def spare_s(self) -> float:
        """Seconds that the next batch may wait in the queue once one is in hand. The shortest of
        the last batches counts, and the longest preparation: a GPU that waits is worse."""
        if not self._in_hand_s or not self._preparing_s:
            return 0.0
        return max(0.0, min(self._in_hand_s) - MARGIN * max(self._preparing_s))

    def was_in_hand(self, seconds: float) -> None:
        """So long a batch was in hand, from its first stage on until its answers were stored."""
        self._in_hand_s.append(seconds)

    def was_prepared(self, seconds: float) -> None:
        """So long it took to take a batch and to decode its images."""
        self._preparing_s.append(seconds)
