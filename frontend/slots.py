"""How much of one kind may go on at once: of each client, and of all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import RateLimited, Unavailable


class Slots:
    """Counts what is under way, and refuses what is too much."""

    def __init__(self, what: str, *, each: int, most: int) -> None:
        """`what` is named in a refusal, in plural: `uploads`."""
        self._what, self._each, self._most = what, each, most
        self._taken: Counter[str] = Counter()

    def take(self, client: str) -> None:
        """Begin one; `free` ends it. Raises RateLimited or Unavailable when it may not begin."""
        if self._taken[client] >= self._each:
            raise RateLimited(f"this client has {self._each} {self._what} under way already")
        if self._taken.total() >= self._most:
            raise Unavailable(f"{self._most} {self._what} are under way already; try again shortly")
        self._taken[client] += 1

    def free(self, client: str) -> None:
        """End one that was begun."""
        self._taken[client] -= 1
        if self._taken[client] <= 0:
            del self._taken[client]  # addresses do not pile up

    @contextmanager
    def one(self, client: str) -> Iterator[None]:
        """One from begin to end."""
        self.take(client)
        try:
            yield
        finally:
            self.free(client)
