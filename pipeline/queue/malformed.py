"""What stands in Redis under our names and is not as we write it: refused, removed, counted.

Whoever can write to Redis can put anything there, and so can a mistake. It must cost that entry
alone: no worker, no heartbeat, no frontend and no other image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

#: A job, a registration of a worker, a reply on the channel, a member of a registry or a key of a
#: foreign type, a state of an alert.
Kind = Literal["job", "worker", "reply", "key", "alert"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Counts entries that were refused.
Tally = Callable[[Kind, int], None]


def nobody(_: Kind, __: int) -> None:
    """For who does not count."""
