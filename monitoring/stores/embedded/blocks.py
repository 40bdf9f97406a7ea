"""Blocks of requests by columns: what images are found by.

A block has the requests of a stretch of ids, by position: their figures as arrays, and for each
value of a text, such as `worker=a`, a bit for each request that has it. So a question reads a few
bits of each request, and of most blocks nothing at all.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from monitoring.stores.embedded.damage import BlockDamaged
from monitoring.stores.embedded.summaries import Facts
from monitoring.stores.finding import BOUNDS_MS, BUCKETS, DIMENSIONS, VALUE_MAX, TraceQuery

#: Requests of a block, and of one that several of those become: both as in the trigger
#: `request_late`.
SMALL: Final = 1024
LARGE: Final = 65_536
#: Texts of one dimension that a block has; of more, those that fewest requests have go.
VALUES_MAX: Final = 500

#: The name of the bit that every request has.
ALL: Final = "*"
#: What comes first in the names of figures: when it began in ns, how long it took in µs, in which
#: bucket that is (from 1; 0 where there is no request), and its score in ten-thousandths.
START, TOOK, BUCKET, SCORE = "#start", "#took", "#bucket", "#score"
FIGURES: Final[dict[str, npt.DTypeLike]] = {
    START: "<i8",
    TOOK: "<u4",
    BUCKET: "u1",
    SCORE: "<u2",
}
#: Begins the name of the bit that a value of this dimension was left out.
LEFT_OUT: Final = "-"
#: Where the buckets begin, in µs, but for the first.
BOUNDS_US: Final = np.array([round(bound * 1e3) for bound in BOUNDS_MS], np.int64)
#: Durations beyond (71 minutes) are as good as that.
TOOK_MAX: Final = 2**32 - 1

Bits = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]


def name_of(dimension: str, value: str) -> str:
    """The name of a text's column."""
    return f"{dimension}={value[:VALUE_MAX]}"


def groups_of(query: TraceQuery) -> list[tuple[str, ...]]:
    """What a question asks of texts: of each group one must be there. None of them is there twice
    for one request."""
    groups: list[tuple[str, ...]] = []
    if query.status is not None:
        groups.append((name_of("status", query.status),))
    if query.outcomes:
        groups.append(tuple(name_of("outcome", each) for each in dict.fromkeys(query.outcomes)))
    for dimension in DIMENSIONS:
        value = getattr(query, dimension)
        if value is not None:
            groups.append((name_of(dimension, value),))
    return groups


@dataclass(slots=True)
class ImageBlock:
    """`size` requests from the id `first` on; it may have fewer."""

    first: int
    size: int
    figures: dict[str, Array] = field(default_factory=dict)
    bits: dict[str, Bits] = field(default_factory=dict)

    def counts(self, name: str) -> Counts:
        """How many requests have a value, by bucket."""
        return tally(self.figures[BUCKET], unpack(self.bits[name], self.size))

    @property
    def span_ns(self) -> tuple[int, int]:
        """When the first and the last of them began, as their clocks say."""
        starts = self.figures[START][self.figures[BUCKET] > 0]
        return (int(starts.min()), int(starts.max())) if len(starts) else (0, 0)


def build(first: int, size: int, facts: Sequence[Facts]) -> ImageBlock:
    """The block of the requests that are given, in any order."""
    block = ImageBlock(first, size, {name: np.zeros(size, kind) for name, kind in FIGURES.items()})
    figures = block.figures
    at = np.array([each.id for each in facts], np.int64) - first
    figures[START][at] = [each.start_ns for each in facts]
    took_us = np.array([each.duration_ns for each in facts], np.int64) // 1000
    figures[TOOK][at] = np.minimum(took_us, TOOK_MAX)
    figures[SCORE][at] = [round((each.score or 0.0) * 1e4) for each in facts]
    figures[BUCKET][at] = 1 + np.searchsorted(BOUNDS_US, took_us, side="right")
    having: dict[str, list[int]] = {}
    for position, each in zip(at.tolist(), facts, strict=True):
        for name in _names(each):
            having.setdefault(name, []).append(position)
    _leave_out(having)
    block.bits = {name: _bits(positions, size) for name, positions in having.items()}
    block.bits[ALL] = pack(figures[BUCKET] > 0)
    return block


def _names(facts: Facts) -> list[str]:
    """The columns in which a request has a bit."""
    names = [
        f"{dimension}={value[:VALUE_MAX]}"
        for dimension, value in (
            ("status", "error" if facts.error else "ok"),
            ("outcome", facts.outcome),
            ("route", facts.route),
            ("code", facts.code),
            ("client", facts.client),
            ("worker", facts.worker),
            ("model", facts.model),
        )
        if value is not None
    ]
    if facts.labels:
        names += {name_of("label", label) for label in facts.labels}
    return names


def _leave_out(having: dict[str, list[int]]) -> None:
    dimensions = Counter(name.partition("=")[0] for name in having)
    for dimension, count in dimensions.items():
        if count > VALUES_MAX:
            names = [name for name in having if name.partition("=")[0] == dimension]
            names.sort(key=lambda name: -len(having[name]))
            left_out = [having.pop(name) for name in names[VALUES_MAX:]]
            having[LEFT_OUT + dimension] = sorted({at for each in left_out for at in each})


def merge(blocks: Sequence[ImageBlock], first: int, size: int) -> ImageBlock:
    """One block of several that lie in it, each at a multiple of eight."""
    merged = ImageBlock(first, size, {name: np.zeros(size, kind) for name, kind in FIGURES.items()})
    for block in blocks:
        at = block.first - first
        for name, figures in block.figures.items():
            merged.figures[name][at : at + block.size] = figures
        for name, bits in block.bits.items():
            whole = merged.bits.setdefault(name, np.zeros(size // 8, np.uint8))
            whole[at // 8 : (at + block.size) // 8] = bits
    return merged


def tally(buckets: Array, flags: Flags) -> Counts:
    """How many of those that are flagged are in each bucket."""
    return np.bincount(buckets * flags, minlength=BUCKETS + 1)[1:].astype(np.int64)


def pack(flags: Flags) -> Bits:
    """A bit each."""
    return np.packbits(flags, bitorder="little")


def unpack(bits: Bits, size: int) -> Flags:
    """The flags that were packed."""
    return np.unpackbits(bits, count=size, bitorder="little").view(np.bool_)


def _bits(positions: list[int], size: int) -> Bits:
    flags = np.zeros(size, np.bool_)
    flags[positions] = True
    return pack(flags)


# -- in the file ---------------------------------------------------------------------------


def write(connection: sqlite3.Connection, block: ImageBlock) -> None:
    """Store a block, inside the caller's transaction, instead of those that lie in it."""
    drop(connection, block.first, block.first + block.size)
    connection.execute(
        "INSERT INTO block (first, size, earliest_ns, latest_ns) VALUES (?, ?, ?, ?)",
        (block.first, block.size, *block.span_ns),
    )
    connection.executemany(
        "INSERT INTO block_column (block, name, counts, body) VALUES (?, ?, ?, ?)",
        [
            (block.first, name, block.counts(name).astype("<u4").tobytes(), _short(bits.tobytes()))
            for name, bits in block.bits.items()
        ]
        + [(block.first, name, b"", each.tobytes()) for name, each in block.figures.items()],
    )


def drop(connection: sqlite3.Connection, first: int, end: int) -> None:
    """Drop the blocks that begin at `first` or after it, and before `end`."""
    for statement in (
        "DELETE FROM block_column WHERE block >= ? AND block < ?",
        "DELETE FROM block WHERE first >= ? AND first < ?",
    ):
        connection.execute(statement, (first, end))


def read(connection: sqlite3.Connection, first: int, size: int) -> ImageBlock:
    """A whole block. Raises BlockDamaged."""
    block = ImageBlock(first, size)
    for name, body in connection.execute(
        "SELECT name, body FROM block_column WHERE block = ?", (first,)
    ):
        if name in FIGURES:
            block.figures[name] = figures_of(body, name, first, size)
        else:
            block.bits[name] = bits_of(body, first, size)
    if missing := {*FIGURES, ALL} - block.figures.keys() - block.bits.keys():
        raise BlockDamaged(first, f"{', '.join(sorted(missing))} is not there")
    return block


def figures_of(body: bytes, name: str, first: int, size: int) -> Array:
    """One of FIGURES, as it is stored. Raises BlockDamaged."""
    kind = np.dtype(FIGURES[name])
    if len(body) != size * kind.itemsize:
        raise BlockDamaged(first, f"{name} has {len(body)} bytes")
    figures = np.frombuffer(body, kind)
    if name == BUCKET and figures.max(initial=0) > BUCKETS:
        raise BlockDamaged(first, f"{name} names a bucket that there is not")
    return figures


def bits_of(body: bytes, first: int, size: int) -> Bits:
    """Stored bits. Raises BlockDamaged."""
    whole = size // 8
    if len(body) != whole:
        unpacking = zlib.decompressobj()
        try:
            body = unpacking.decompress(body, whole + 1)
        except zlib.error as error:
            raise BlockDamaged(first, str(error)) from error
        if len(body) != whole or not unpacking.eof:
            raise BlockDamaged(first, "bits are missing, or too many")
    return np.frombuffer(body, np.uint8)


def counts_of(body: bytes, first: int) -> Counts:
    """Stored counts, by bucket. Raises BlockDamaged."""
    if len(body) != 4 * BUCKETS:
        raise BlockDamaged(first, f"counts have {len(body)} bytes")
    return np.frombuffer(body, "<u4").astype(np.int64)


def _short(bits: bytes) -> bytes:
    packed = zlib.compress(bits, 1)
    return packed if len(packed) < len(bits) else bits
