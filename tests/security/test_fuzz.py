"""Whatever image is sent, the service answers it, and is as it was."""

from __future__ import annotations

import pytest

from tests.security import fuzz
from tests.servers import Service

COUNT = 2000


@pytest.mark.timeout(1800)
def test_mutated_images(service: Service) -> None:
    """2,000 images with bits flipped, lengths changed, cut and joined: each is detected in, or
    refused for what it is; no worker dies, nothing hangs, no memory is kept. `make fuzz` sends
    20,000."""
    statuses = fuzz.send(service, COUNT, seed=13)
    assert statuses.total() == COUNT
    assert statuses[200] > COUNT // 20, "some are whole still"
    assert statuses[400] > COUNT // 5, "and many are not"


def test_the_same_seed_gives_the_same_images() -> None:
    """A failure can be looked at again."""
    assert list(fuzz.stream(50, 7)) == list(fuzz.stream(50, 7))
    assert list(fuzz.stream(50, 7)) != list(fuzz.stream(50, 8))
