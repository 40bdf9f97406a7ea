"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from tests.servers import Service


@pytest.fixture
def redis(service: Service) -> Iterator[Redis]:
    """A client of the Redis of the module's `service`."""
    with service.redis() as opened:
        yield opened


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """An HTTP client of the module's `service`."""
    with service.client() as opened:
        yield opened


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """The command line makes its process' files private; the next test's are as usual."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
