"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import httpx
import pytest
from redis import Redis

from tests import servers
from tests.servers import RedisProcess, Service

#: Of the processes that were started last, and of what each printed last.
SHOWN_LOGS, SHOWN_CHARACTERS = 4, 3000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the processes said that were started last."""
    report = yield
    if report.failed:
        for log in servers.logs[-SHOWN_LOGS:]:
            if log.exists():
                said = log.read_text(encoding="utf-8", errors="replace")
                title = f"printed by the process in {log.parent.name}"
                report.sections.append((title, said[-SHOWN_CHARACTERS:]))
    return report


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A Redis of the module's own, for what needs no service."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as running:
        yield running


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
