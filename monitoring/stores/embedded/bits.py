"""Bits of requests by position: eight to a byte, the first in the lowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

#: Words of 64 bits whose sum is kept while ranks are looked for.
_ROW: Final = 64


def pack(flags: Flags) -> Bits:
    """A bit each."""
    return np.packbits(flags, bitorder="little")


def unpack(bits: Bits, size: int) -> Flags:
    """The flags that were packed."""
    return np.unpackbits(bits, count=size, bitorder="little").view(np.bool_)


def at(positions: Array, size: int) -> Bits:
    """Bits at these positions only."""
    flags = np.zeros(size, np.bool_)
    flags[positions] = True
    return pack(flags)


def stretch(begin: int, end: int, size: int) -> Bits:
    """All bits from one position up to another."""
    found = np.zeros((size + 7) // 8, np.uint8)
    if begin >= end:
        return found
    first, last = begin // 8, (end - 1) // 8
    found[first : last + 1] = 0xFF
    found[first] &= 0xFF << begin % 8 & 0xFF
    found[last] &= 0xFF >> 7 - (end - 1) % 8
    return found


def before(bits: Bits, positions: Counts) -> Counts:
    """How many bits are set before each of these positions."""
    words = np.zeros(len(bits) // 8 + 2, "<u8")
    words.view(np.uint8)[: len(bits)] = bits
    sums = np.cumsum(np.bitwise_count(words), dtype=np.int64)
    at, rest = positions >> 6, (positions & 63).astype(np.uint64)
    from_here = np.bitwise_count(words[at] >> rest)
    found: Counts = sums[at] - from_here
    return found


def positions_of(bits: Bits, begin: int, end: int) -> Counts:
    """Where bits are set, from one position up to another."""
    first = begin // 8
    found = np.flatnonzero(unpack(bits[first : (end + 7) // 8], max(end - 8 * first, 0)))
    found += 8 * first
    return found[found >= begin] if begin % 8 else found


def nth_of_each(sets: Sequence[Bits], which: Counts, ranks: Counts) -> Counts:
    """Where bits are, each the one of a rank among those that are set in one of the sets, counted
    from 0. All at once, and by the sums of rows of words: a set at a time, or a sum of each word,
    would be much of what a comparison does."""
    rows = np.array([-(-len(bits) // (8 * _ROW)) for bits in sets], np.int64)
    firsts = np.cumsum(rows) - rows
    words = np.zeros((int(rows.sum()), _ROW), "<u8")
    flat = words.reshape(-1).view(np.uint8)
    for bits, first in zip(sets, (8 * _ROW * firsts).tolist(), strict=True):
        flat[first : first + len(bits)] = bits
    sums = np.cumsum(np.bitwise_count(words).sum(axis=1, dtype=np.int64))
    before = np.concatenate([[0], sums])
    ranks = ranks + before[firsts][which]
    row = np.searchsorted(sums, ranks, side="right")
    inside = ranks - before[row]
    word, inside = _nth(np.bitwise_count(words[row]), inside)
    found = words[row, word].view(np.uint8).reshape(-1, 8)
    bit, _ = _nth(np.unpackbits(found, axis=1, bitorder="little"), inside)
    positions: Counts = 64 * (_ROW * (row - firsts[which]) + word) + bit
    return positions


def _nth(counts: Array, ranks: Counts) -> tuple[Counts, Counts]:
    """Of each row, in which column its rank is, and how many of the rank are left in it."""
    sums = np.cumsum(counts, axis=1, dtype=np.int64)
    column = np.argmax(sums > ranks[:, None], axis=1)
    each = np.arange(len(column))
    return column, ranks - (sums[each, column] - counts[each, column])
