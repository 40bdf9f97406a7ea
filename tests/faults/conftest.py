"""What tests of one running service share; each module has a `service` of its own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from tests.servers import Service


@pytest.fixture
def redis(service: Service) -> Iterator[Redis]:
    """A client of the service's Redis."""
    with service.redis() as opened:
        yield opened


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """An HTTP client of the service."""
    with service.client() as opened:
        yield opened
