"""One running service for all tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Service


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`damoscope up` with the bundled model, ready."""
    with Service(tmp_path_factory.mktemp("service") / "home", pages=True) as running:
        yield running.wait_until_ready()
