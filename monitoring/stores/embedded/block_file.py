"""How blocks are stored.

A row of `block_column` is a column of a block: of a figure, `body` is its array, an item for each
request; of a value of a text, the bits, by zlib where that is much shorter, and `counts` how many
have it in each bucket of durations. `*` has these counts of all requests, and no body: they say
where each bucket begins in the other columns.
"""

from __future__ import annotations

import functools
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from monitoring.stores.embedded.bits import Array, Bits, Counts
from monitoring.stores.embedded.blocks import ALL, FIGURES, ImageBlock
from monitoring.stores.embedded.damage import BlockDamaged
from monitoring.stores.finding import BUCKETS

#: What `block.format` says of a block that is stored so. (1: see `block_format_1`.)
FORMAT: Final = 2
#: Bits are packed where that makes them shorter than this: to unpack them takes longer than all
#: else that is done with them. What nine in ten have, at random, is not.
WORTH_PACKING: Final = 0.5


#: Of values, by block, how many requests have them.
Counted = Mapping[str, Mapping[int, bytes]]


class StoredBlock(NamedTuple):
    """A row of `block`."""

    first: int
    size: int
    earliest_ns: int
    latest_ns: int
    format: int


class CountedBlock:
    """A block of the file, of which the counts that are asked for have been read."""

    def __init__(
        self, connection: sqlite3.Connection, counted: Counted, stored: StoredBlock
    ) -> None:
        self.first, self.span_ns = stored.first, (stored.earliest_ns, stored.latest_ns)
        self._size, self._connection, self._counted = stored.size, connection, counted

    @functools.cached_property
    def edges(self) -> Counts:
        """At which position each bucket of durations begins; last, how many requests there are."""
        return edges_of(self._counted[ALL].get(self.first), self.first, self._size)

    def counts(self, name: str) -> Counts | None:
        """How many have a value, by bucket; None when none has it."""
        if name == ALL:
            return np.diff(self.edges)
        found = self._counted[name].get(self.first)
        return None if found is None else counts_of(found, self.first)


def write(connection: sqlite3.Connection, block: ImageBlock) -> None:
    """Store a block, inside the caller's transaction, instead of those that lie in it."""
    drop(connection, block.first, block.first + block.size)
    connection.execute(
        "INSERT INTO block (first, size, earliest_ns, latest_ns, format) VALUES (?, ?, ?, ?, ?)",
        (block.first, block.size, *block.span_ns, FORMAT),
    )
    connection.executemany(
        "INSERT INTO block_column (block, name, counts, body) VALUES (?, ?, ?, ?)",
        [
            (block.first, name, _counted(block, name), _short(bits.tobytes()))
            for name, bits in block.bits.items()
        ]
        + [(block.first, name, b"", each.tobytes()) for name, each in block.figures.items()]
        + [(block.first, ALL, _counted(block, ALL), b"")],
    )


def _counted(block: ImageBlock, name: str) -> bytes:
    return block.counts(name).astype("<u4").tobytes()


def _short(bits: bytes) -> bytes:
    packed = zlib.compress(bits, 1)
    return packed if len(packed) < WORTH_PACKING * len(bits) else bits


def drop(connection: sqlite3.Connection, first: int, end: int) -> None:
    """Drop the blocks that begin at `first` or after it, and before `end`."""
    for statement in (
        "DELETE FROM block_column WHERE block >= ? AND block < ?",
        "DELETE FROM block WHERE first >= ? AND first < ?",
    ):
        connection.execute(statement, (first, end))


def read(connection: sqlite3.Connection, first: int, size: int) -> ImageBlock:
    """A whole block. Raises BlockDamaged."""
    columns = {
        name: (counts, body)
        for name, counts, body in connection.execute(
            "SELECT name, counts, body FROM block_column WHERE block = ?", (first,)
        )
    }
    if missing := {ALL, *FIGURES} - columns.keys():
        raise BlockDamaged(first, f"{', '.join(sorted(missing))} is not there")
    total = int(edges_of(columns.pop(ALL)[0], first, size)[-1])
    block = ImageBlock(first, size)
    for name, (_, body) in columns.items():
        if name in FIGURES:
            block.figures[name] = figures_of(body, name, first, total)
        else:
            block.bits[name] = bits_of(body, first, total)
    return block


def edges_of(counts: bytes | None, first: int, size: int) -> Counts:
    """At which position each bucket begins, and the last one ends, by the counts of `*`. Raises
    BlockDamaged."""
    if counts is None:
        raise BlockDamaged(first, "counts are not there")
    edges: Counts = np.concatenate([[0], np.cumsum(counts_of(counts, first))])
    if edges[-1] > size:
        raise BlockDamaged(first, f"it counts {edges[-1]} requests")
    return edges


def figures_of(body: bytes, name: str, first: int, total: int) -> Array:
    """One of FIGURES, as it is stored. Raises BlockDamaged."""
    kind = np.dtype(FIGURES[name])
    if len(body) != total * kind.itemsize:
        raise BlockDamaged(first, f"{name} has {len(body)} bytes")
    return np.frombuffer(body, kind)


def part_of_figure(
    connection: sqlite3.Connection, name: str, first: int, total: int, begin: int, end: int
) -> Array:
    """The same, from one position up to another: of the file no more than that is read."""
    kind = np.dtype(FIGURES[name])
    if begin >= end:
        return np.empty(0, kind)
    with _opened(connection, name, first, total * kind.itemsize) as blob:
        blob.seek(begin * kind.itemsize)
        return np.frombuffer(blob.read((end - begin) * kind.itemsize), kind)


def items_of_figure(
    connection: sqlite3.Connection, name: str, first: int, total: int, positions: Counts
) -> Array:
    """The same, at some positions: what lies between them is not read."""
    kind = np.dtype(FIGURES[name])
    read = bytearray()
    with _opened(connection, name, first, total * kind.itemsize) as blob:
        for place in (positions * kind.itemsize).tolist():
            blob.seek(place)
            read += blob.read(kind.itemsize)
    return np.frombuffer(bytes(read), kind)


def _opened(connection: sqlite3.Connection, name: str, first: int, size: int) -> sqlite3.Blob:
    """A column of this size, to be read and closed. Raises BlockDamaged."""
    found = connection.execute(
        "SELECT id, typeof(body) = 'blob' FROM block_column WHERE name = ? AND block = ?",
        (name, first),
    ).fetchone()
    if found is None:
        raise BlockDamaged(first, f"{name} is not there")
    if not found[1]:
        raise BlockDamaged(first, f"{name} is no array")
    blob = connection.blobopen("block_column", "body", found[0], readonly=True)
    found_size = len(blob)
    if found_size != size:
        blob.close()
        raise BlockDamaged(first, f"{name} has {found_size} bytes")
    return blob


def body_of(connection: sqlite3.Connection, name: str, first: int) -> bytes:
    """A column, as it is stored. Raises BlockDamaged."""
    found = connection.execute(
        "SELECT body FROM block_column WHERE name = ? AND block = ?", (name, first)
    ).fetchone()
    if found is None:
        raise BlockDamaged(first, f"{name} is not there")
    return bytes(found[0])


def bits_of_all(
    connection: sqlite3.Connection, first: int, total: int
) -> Iterator[tuple[str, Bits]]:
    """All values that any request of a block has, and which have it. Raises BlockDamaged."""
    for name, body in connection.execute(
        "SELECT name, body FROM block_column WHERE block = ? AND name NOT GLOB '[*#]*'", (first,)
    ):
        yield name, bits_of(body, first, total)


def bits_of(body: bytes, first: int, total: int) -> Bits:
    """Stored bits. Raises BlockDamaged."""
    whole = (total + 7) // 8
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
