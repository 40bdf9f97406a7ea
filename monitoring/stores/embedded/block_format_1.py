"""Blocks as they were stored before their requests were in order of duration: read as the others,
at the cost of putting them in order each time, until they are stored anew.

A request's position was its id less that of the block; `#bucket` said in which bucket of durations
it is, from 1, and 0 where there is no request.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from monitoring.stores.embedded import block_file
from monitoring.stores.embedded.bits import Array, Bits, Counts, Flags, pack, unpack
from monitoring.stores.embedded.blocks import ALL, FIGURES, ID, TOOK, ImageBlock, in_order
from monitoring.stores.embedded.damage import BlockDamaged

_BUCKET: Final = "#bucket"


class OldPart(block_file.CountedBlock):
    """A block of this format, as the Part that it will be."""

    def bits(self, name: str) -> Bits | None:
        if self.first not in self._counted[name]:
            return None
        body = block_file.body_of(self._connection, name, self.first)
        return self._in_order(block_file.bits_of(body, self.first, self._size))

    def figure(self, name: str, begin: int = 0, end: int | None = None) -> Array:
        positions = self._order[begin:end]
        return positions if name == ID else self._stored(name)[positions]

    def items(self, name: str, positions: Counts) -> Array:
        return self.figure(name)[positions]

    def every(self) -> Iterator[tuple[str, Bits]]:
        for name, bits in block_file.bits_of_all(self._connection, self.first, self._size):
            yield name, self._in_order(bits)

    @functools.cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """The position of each request in the file, the quickest first."""
        there = _requests(self._connection, self.first, self._size)
        _check(there, self.edges, self.first)
        return there[np.argsort(self._stored(TOOK)[there], kind="stable")]

    def _in_order(self, bits: Bits) -> Bits:
        return pack(unpack(bits, self._size)[self._order])

    def _stored(self, name: str) -> Array:
        return _figures(self._connection, name, self.first, self._size)


def read(connection: sqlite3.Connection, first: int, size: int) -> ImageBlock:
    """A whole block, as it will be. Raises BlockDamaged."""
    there = _requests(connection, first, size)
    counts = connection.execute(
        "SELECT counts FROM block_column WHERE name = ? AND block = ?", (ALL, first)
    ).fetchone()
    _check(there, block_file.edges_of(counts and counts[0], first, size), first)
    figures: dict[str, Array] = {
        name: there.astype(kind) if name == ID else _figures(connection, name, first, size)[there]
        for name, kind in FIGURES.items()
    }
    flags: dict[str, Flags] = {
        name: unpack(bits, size)[there]
        for name, bits in block_file.bits_of_all(connection, first, size)
    }
    return in_order(ImageBlock(first, size, figures), flags)


def _requests(connection: sqlite3.Connection, first: int, size: int) -> npt.NDArray[np.int64]:
    """Where there are requests."""
    body = block_file.body_of(connection, _BUCKET, first)
    if len(body) != size:
        raise BlockDamaged(first, f"{_BUCKET} has {len(body)} bytes")
    return np.flatnonzero(np.frombuffer(body, np.uint8))


def _check(there: npt.NDArray[np.int64], edges: Counts, first: int) -> None:
    if len(there) != edges[-1]:
        raise BlockDamaged(first, f"{_BUCKET} has {len(there)} requests, counts {edges[-1]}")


def _figures(connection: sqlite3.Connection, name: str, first: int, size: int) -> Array:
    return block_file.figures_of(block_file.body_of(connection, name, first), name, first, size)
