"""One question to one state of the file, answered by blocks: which requests are meant, how many
there are, which come next."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.stores.embedded import blocks
from monitoring.stores.embedded.blocks import (
    ALL,
    BOUNDS_US,
    BUCKET,
    LEFT_OUT,
    SCORE,
    START,
    TOOK,
    TOOK_MAX,
    Array,
    Counts,
    Flags,
    pack,
    unpack,
)
from monitoring.stores.embedded.parts import Part, parts
from monitoring.stores.finding import BUCKETS, NEVER, TraceQuery

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Durations:
    """Those from `least` up to `end`, in µs; `exact` where no bucket is cut."""

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

    def flags(self, took_us: Array) -> Flags:
        """Which of some durations are among them."""
        found: Flags = (took_us >= min(self.least, TOOK_MAX)) & (took_us < self.end)
        return found

    @property
    def is_whole(self) -> bool:
        """Whether no bucket is cut."""
        edges = (0, NEVER, *BOUNDS_US.tolist())
        return self.least in edges and self.end in edges


def _us(ms: float | None, otherwise: int) -> int:
    return otherwise if ms is None else min(math.ceil(round(ms * 1e3, 3)), NEVER)


def bucket(took_us: int) -> int:
    """Which bucket a duration is in, from 1."""
    return 1 + int(np.searchsorted(BOUNDS_US, took_us, side="right"))


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
        self._known: dict[int, npt.NDArray[np.uint8] | None] = {}

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
            flags = self.matching(part)
            if flags is not None:
                best = self._better(best, part, START, flags, count, after)
        return _pairs(best)

    def slowest(self, count: int, after: tuple[int, int] | None) -> list[tuple[int, int]]:
        """Duration in µs and id of the slowest ones, or of the next after these."""
        tallies = [self._tally(part) for part in self.parts]
        # All that are in a lower bucket are quicker than these.
        last = bucket(after[0]) if after is not None else BUCKETS
        total = sum(tallies, np.zeros(BUCKETS, np.int64))
        least = last if after is None else last - 1
        while least > 1 and total[least - 1 : last if after is None else last - 1].sum() < count:
            least -= 1
        best = np.empty((0, 2), np.int64)
        for part, counts in zip(self.parts, tallies, strict=True):
            if not counts[max(least, 1) - 1 : last].any():
                continue
            flags = self.matching(part)
            if flags is not None:
                buckets = part.figure(BUCKET)
                flags = flags & (buckets >= least) & (buckets <= last)
                best = self._better(best, part, TOOK, flags, count, after)
        return _pairs(best)

    def _better(
        self,
        best: Keys,
        part: Part,
        figure: str,
        flags: Flags,
        count: int,
        after: tuple[int, int] | None,
    ) -> Keys:
        """The `count` highest of what was best and what a part has, the highest first."""
        at = np.flatnonzero(flags)
        keys, ids = part.figure(figure)[at].astype(np.int64), at + part.first
        if after is not None:
            rest = (keys < after[0]) | ((keys == after[0]) & (ids < after[1]))
            keys, ids = keys[rest], ids[rest]
        if len(keys) > 4 * count:
            high = keys >= np.partition(keys, len(keys) - count)[len(keys) - count]
            keys, ids = keys[high], ids[high]
        every = np.concatenate([best, np.stack([keys, ids], axis=1)])
        return every[np.lexsort((-every[:, 1], -every[:, 0]))[:count]]

    def _tally(self, part: Part) -> Counts:
        first, end = self._durations.buckets
        if len(self._groups) <= 1 and self._is_whole(part):
            names = self._groups[0] if self._groups else (ALL,)
            known = [part.counts(name) for name in names]
            counts = sum((each for each in known if each is not None), np.zeros(BUCKETS, np.int64))
            counts[: first - 1] = 0
            counts[end - 1 :] = 0
            return counts
        flags = self.matching(part)
        if flags is None:
            return np.zeros(BUCKETS, np.int64)
        return blocks.tally(part.figure(BUCKET), flags)

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

    def matching(self, part: Part) -> Flags | None:
        """Which of a part answer the question; None where none does."""
        if part.first not in self._known:
            flags = self._match(part)
            is_there = flags is not None and flags.any()
            self._known[part.first] = pack(flags) if flags is not None and is_there else None
            return flags if is_there else None
        bits = self._known[part.first]
        return None if bits is None else unpack(bits, part.size)

    def _match(self, part: Part) -> Flags | None:
        bits = None
        for group in self._groups:
            having = [each for each in map(part.bits, group) if each is not None]
            if not having:
                return None
            either = having[0] if len(having) == 1 else np.bitwise_or.reduce(having)
            bits = either if bits is None else bits & either
        if bits is None:
            flags = part.figure(BUCKET) > 0
        elif not bits.any():
            return None
        else:
            flags = unpack(bits, part.size)
        if part.first < self._alive:
            flags[: self._alive - part.first] = False
        if not self._has_time(part):
            start = part.figure(START)
            flags &= (start >= self._first_ns) & (start < self._end_ns)
        self._limit(part, flags)
        return flags

    def _limit(self, part: Part, flags: Flags) -> None:
        """Leave out those with another duration or score."""
        durations, query = self._durations, self._query
        if durations != Durations(0, NEVER):
            if durations.is_whole:
                first, end = durations.buckets
                buckets = part.figure(BUCKET)
                flags &= (buckets >= first) & (buckets < end)
            else:
                flags &= durations.flags(part.figure(TOOK))
        if query.min_score is not None:
            flags &= part.figure(SCORE) >= math.ceil(round(query.min_score * 1e4, 3))
        if query.max_score is not None:
            flags &= part.figure(SCORE) <= math.floor(round(query.max_score * 1e4, 3))


def _pairs(keys: Keys) -> list[tuple[int, int]]:
    return [(int(key), int(id)) for key, id in keys]
