"""monitoring.stores.embedded.bits: as if each bit were looked at."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.stores.embedded import bits

SIZES = (1, 7, 8, 9, 63, 64, 65, 200)


@pytest.mark.parametrize("size", SIZES)
def test_a_stretch_and_what_is_before(size: int) -> None:
    """Any stretch of positions, the bits before any position, and where they are."""
    rng = np.random.default_rng(size)
    flags = rng.random(size) < 0.5
    packed = bits.pack(flags)
    every = np.arange(size + 1)
    assert bits.before(packed, every).tolist() == [int(flags[:end].sum()) for end in every]
    for _ in range(40):
        begin, end = sorted(rng.integers(0, size + 1, 2).tolist())
        here = np.zeros(size, np.bool_)
        here[begin:end] = True
        assert np.array_equal(bits.stretch(begin, end, size), bits.pack(here))
        wanted = np.flatnonzero(flags & here)
        assert np.array_equal(bits.positions_of(packed & bits.pack(here), begin, end), wanted)
        assert np.array_equal(bits.positions_of(packed, begin, end), wanted)


def test_bits_by_their_ranks_in_several_sets() -> None:
    """Sets of any sizes, some without a bit: any rank in any of them."""
    rng = np.random.default_rng(3)
    sets = [rng.random(size) < share for size in SIZES for share in (0.0, 0.5, 1.0)]
    every = [(at, rank, place) for at, flags in enumerate(sets)
             for rank, place in enumerate(np.flatnonzero(flags))]  # fmt: skip
    which, ranks, places = np.array(every)[rng.permutation(len(every))].T
    packed = [bits.pack(flags) for flags in sets]
    assert np.array_equal(bits.nth_of_each(packed, which, ranks), places)


def test_at() -> None:
    """The bits at some positions."""
    assert bits.unpack(bits.at(np.array([0, 9]), 10), 10).nonzero()[0].tolist() == [0, 9]
