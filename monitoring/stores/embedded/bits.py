"""Bits of requests by position: eight to a byte, the first in the lowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]


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
    from 0. Of all at once: a set at a time takes most of what a comparison does."""
    sizes = np.array([(len(bits) + 7) // 8 for bits in sets], np.int64)
    firsts = np.cumsum(sizes) - sizes
    words = np.zeros(int(sizes.sum()), "<u8")
    flat = words.view(np.uint8)
    for bits, first in zip(sets, (8 * firsts).tolist(), strict=True):
        flat[first : first + len(bits)] = bits
    counts = np.bitwise_count(words)
    sums = np.cumsum(counts, dtype=np.int64)
    ranks = ranks + (sums[firsts] - counts[firsts])[which]
    word = np.searchsorted(sums, ranks, side="right")
    inside = ranks - (sums[word] - counts[word])
    flags = np.unpackbits(words[word].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    within = np.argmax(np.cumsum(flags, axis=1) > inside[:, None], axis=1)
    found: Counts = 64 * (word - firsts[which]) + within
    return found
