"""A queue of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.queue.bench import (
    HELD_S,
    Bench,
    Replies,
)
from tests.servers import RedisProcess


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """With leases that only `lose` ends: those of a worker, seconds, would on a busy machine."""
    monkeypatch.setattr("pipeline.queue.consumer.LEASE_S", HELD_S)
    with RedisProcess(tmp_path) as server:
        yield Bench(server)


@pytest.fixture
def replies(bench: Bench) -> Iterator[Replies]:
    heard = bench.listen()
    yield heard
    heard.close()
