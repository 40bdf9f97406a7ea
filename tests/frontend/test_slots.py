"""frontend.slots: so many at once, and no more."""

from __future__ import annotations

import pytest

from frontend.slots import Slots
from pipeline.errors import RateLimited, Unavailable


def test_slots() -> None:
    """One client is told apart from all; what has ended makes room again."""
    slots = Slots("uploads", each=2, most=3)
    with slots.one("a"):
        slots.take("a")
        with pytest.raises(RateLimited, match="2 uploads under way"):
            slots.take("a")
        slots.take("b")
        with pytest.raises(Unavailable, match="3 uploads are under way"):
            slots.take("c")
        slots.free("b")
        slots.take("c")
    with slots.one("a"):
        pass
    slots.take("a")
