"""One question to one state of the file, answered by blocks: which requests are meant, how many
there are, which come next."""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from monitoring.stores.embedded import blocks
from monitoring.stores.embedded.bits import (
    Array,
    Bits,
    Counts,
    Flags,
    pack,
    positions_of,
    stretch,
)
from monitoring.stores.embedded.blocks import (
    ALL,
    BOUNDS_US,
    ID,
    LEFT_OUT,
    SCORE,
    START,
    TOOK,
    TOOK_MAX,
)
from monitoring.stores.embedded.parts import Part, parts
from monitoring.stores.finding import BUCKETS, NEVER, TraceQuery

Keys = npt.NDArray[np.int64]

_BOUNDS: Final[list[int]] = BOUNDS_US.tolist()
#: Where a bucket begins, or ends.
_EDGES: Final = frozenset((0, NEVER, *_BOUNDS))


@dataclass(frozen=True, slots=True)
class Durations:
    """Those from `least` up to `end`, in µs."""

    least: int
    end: int

    @classmethod
    def of(cls, query: TraceQuery) -> Durations:
        return cls(_us(query.min_duration_ms, 0), _us(query.max_duration_ms, NEVER))

    @property
    def buckets(self) -> tuple[int, int]:
        """The first bucket that has some, and the one after the last."""
        last = bucket(self.end - 1) if self.end else 0
        return bucket(self.least), min(last, BUCKETS) + 1

    @property
    def is_whole(self) -> bool:
        """Whether no bucket is cut."""
        return self.least in _EDGES and self.end in _EDGES

    def stretch(self, part: Part) -> tuple[int, int]:
        """The positions of a part's requests that are among them."""
        if self == EVERY:
            return 0, int(part.edges[-1])
        begin, end = quicker(part, min(self.least, TOOK_MAX), self.end)
        return begin, max(begin, end)


EVERY: Final = Durations(0, NEVER)


def quicker(part: Part, *took_us: int) -> list[int]:
    """How many requests of a part took less than each of these."""
    found: list[int] = []
    read: dict[int, Array] = {}
    for each in took_us:
        number = bucket(each)
        begin, end = part.edges[number - 1 : number + 1].tolist()
        if each > TOOK_MAX:
            begin = end
        elif each not in _EDGES and begin < end:
            if number not in read:
                read[number] = part.figure(TOOK, begin, end)
            begin += int(np.searchsorted(read[number], np.uint32(each)))
        found.append(begin)
    return found


def _us(ms: float | None, otherwise: int) -> int:
    return otherwise if ms is None else min(math.ceil(round(ms * 1e3, 3)), NEVER)


def bucket(took_us: int) -> int:
    """Which bucket a duration is in, from 1."""
    return 1 + bisect_right(_BOUNDS, took_us)


class BlockSearch:
    """One question to one state of the file."""

    def __init__(
        self, connection: sqlite3.Connection, query: TraceQuery, damaged: Collection[int] = ()
    ) -> None:
        self._connection, self._query = connection, query
        self._first_ns, self._end_ns = query.begun_ns
        self._groups = blocks.groups_of(query)
        names = [name for group in self._groups for name in group]
        dimensions = {name.partition("=")[0] for name in names}
        self._left_out = [LEFT_OUT + each for each in dimensions]
        self._durations = Durations.of(query)
        (alive,) = connection.execute("SELECT coalesce(min(id), 0) FROM request").fetchone()
        #: Rows with lower ids are gone, though blocks may have them.
        self._alive: int = alive
        self.parts, self._complete = parts(
            connection, self._first_ns, self._end_ns, [*names, *self._left_out], damaged
        )
        self._known: dict[int, Bits | None] = {}

    @property
    def complete(self) -> bool:
        """Whether nothing is left out of the answer."""
        return self._complete and not any(
            part.counts(name) is not None for part in self.parts for name in self._left_out
        )

    def tally(self) -> Counts:
        """How many there are, by duration."""
        return sum((self._tally(part) for part in self.parts), np.zeros(BUCKETS, np.int64))

    def newest(self, count: int, after: tuple[int, int] | None) -> list[tuple[int, int]]:
        """Start and id of the newest ones, or of the next after these."""
        best = np.empty((0, 2), np.int64)
        for part in sorted(self.parts, key=lambda part: -part.span_ns[1]):
            if len(best) == count and best[-1, 0] > part.span_ns[1]:
                break
            if after is not None and part.span_ns[0] > after[0]:
                continue
            bits = self.matching(part)
            if bits is not None:
                at = positions_of(bits, 0, int(part.edges[-1]))
                best = _better(best, part, START, at, count, after)
        return _pairs(best)

    def slowest(self, count: int, after: tuple[int, int] | None) -> list[tuple[int, int]]:
        """Duration in µs and id of the slowest ones, or of the next after these."""
        best = np.empty((0, 2), np.int64)
        last = bucket(after[0]) if after is not None else BUCKETS
        for part in self.parts:
            # None of a lower bucket is slower than what was found.
            least = bucket(int(best[-1, 0])) if len(best) == count else 1
            begin, end = int(part.edges[least - 1]), int(part.edges[last])
            if begin >= end or not self._may_have(part, least, last):
                continue
            if after is not None:
                end = _position(part, *after)
            bits = self._match(part, begin, end)
            if bits is not None:
                # A part's slowest come last.
                at = positions_of(bits, begin, end)[-count:]
                best = _better(best, part, TOOK, at, count, None)
        return _pairs(best)

    def _may_have(self, part: Part, least: int, last: int) -> bool:
        """Whether every text that is asked for is there in some of these buckets."""
        for group in self._groups:
            known = [part.counts(name) for name in group]
            if not any(each is not None and each[least - 1 : last].any() for each in known):
                return False
        return True

    def _tally(self, part: Part) -> Counts:
        if len(self._groups) <= 1 and self._is_whole(part):
            first, end = self._durations.buckets
            names = self._groups[0] if self._groups else (ALL,)
            known = [part.counts(name) for name in names]
            counts = sum((each for each in known if each is not None), np.zeros(BUCKETS, np.int64))
            counts[: first - 1] = 0
            counts[end - 1 :] = 0
            return counts
        bits = self.matching(part)
        if bits is None:
            return np.zeros(BUCKETS, np.int64)
        return blocks.tally(bits, part.edges)

    def _is_whole(self, part: Part) -> bool:
        """Whether what the part has counted is what is asked for."""
        query = self._query
        return (
            self._has_time(part)
            and part.first >= self._alive
            and query.min_score is None
            and query.max_score is None
            and self._durations.is_whole
        )

    def _has_time(self, part: Part) -> bool:
        return self._first_ns <= part.span_ns[0] and part.span_ns[1] < self._end_ns

    def matching(self, part: Part) -> Bits | None:
        """Which of a part answer the question; None where none does."""
        if part.first not in self._known:
            bits = self._match(part)
            self._known[part.first] = bits if bits is not None and bits.any() else None
        return self._known[part.first]

    def _match(self, part: Part, begin: int = 0, end: int | None = None) -> Bits | None:
        """Which of those at these positions do; None where it is soon clear that none does."""
        total = int(part.edges[-1])
        first, last = self._durations.stretch(part)
        begin, end = max(begin, first), last if end is None else min(end, last)
        if begin >= end:
            return None
        bits = stretch(begin, end, total)
        for group in self._groups:
            having = [each for each in map(part.bits, group) if each is not None]
            if not having:
                return None
            bits &= having[0] if len(having) == 1 else np.bitwise_or.reduce(having)
            if not bits.any():
                return None

        def limit(flags: Flags) -> None:
            bits[begin // 8 : (end + 7) // 8] &= pack(flags)

        # Figures are read from a whole byte of bits on.
        begin = begin // 8 * 8
        if part.first < self._alive:
            limit(part.figure(ID, begin, end) >= self._alive - part.first)
        if not self._has_time(part):
            start = part.figure(START, begin, end)
            limit((start >= self._first_ns) & (start < self._end_ns))
        least, most = self._query.min_score, self._query.max_score
        if least is not None:
            score = part.figure(SCORE, begin, end)
            limit(score >= math.ceil(round(least * 1e4, 3)))
        if most is not None:
            score = part.figure(SCORE, begin, end)
            limit(score <= math.floor(round(most * 1e4, 3)))
        return bits


def _position(part: Part, took_us: int, id: int) -> int:
    """How many requests of a part are before one of this duration and id."""
    begin, end = quicker(part, took_us, took_us + 1)
    ids = part.figure(ID, begin, end).astype(np.int64) + part.first
    return int(begin + np.searchsorted(ids, id))


def _better(
    best: Keys, part: Part, figure: str, at: Counts, count: int, after: tuple[int, int] | None
) -> Keys:
    """The `count` highest of what was best and what a part has at these positions, the highest
    first."""
    if not len(at):
        return best
    begin, end = int(at[0]), int(at[-1]) + 1
    keys = part.figure(figure, begin, end)[at - begin].astype(np.int64)
    if len(best) == count:
        high = keys >= best[-1, 0]
        at, keys = at[high], keys[high]
        if not len(at):
            return best
    begin, end = int(at[0]), int(at[-1]) + 1
    ids = part.figure(ID, begin, end)[at - begin] + np.int64(part.first)
    if after is not None:
        rest = (keys < after[0]) | ((keys == after[0]) & (ids < after[1]))
        keys, ids = keys[rest], ids[rest]
    if len(keys) > 4 * count:
        high = keys >= np.partition(keys, len(keys) - count)[len(keys) - count]
        keys, ids = keys[high], ids[high]
    every = np.concatenate([best, np.stack([keys, ids], axis=1)])
    return every[np.lexsort((-every[:, 1], -every[:, 0]))[:count]]


def _pairs(keys: Keys) -> list[tuple[int, int]]:
    return [(int(key), int(id)) for key, id in keys]
