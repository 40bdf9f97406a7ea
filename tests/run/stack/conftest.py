"""The native stack for tests marked `stack`: real servers on free ports, the repository's files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from run.stack.native import Stack
from run.stack.ports import Ports
from tests.run.stack.telemetry_source import Source


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All five servers, on free ports, new for each module."""
    with Stack(tmp_path_factory.mktemp("stack"), Ports.free()) as running:
        yield running


@pytest.fixture(scope="module")
def source(stack: Stack) -> Iterator[Source]:
    """Something that sends what frontend and worker would send."""
    sending = Source(f"http://127.0.0.1:{stack.ports.otlp_http}")
    yield sending
    sending.close()
