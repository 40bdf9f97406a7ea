"""Running services for the tests that leave them as they found them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.connections import MEMORY_MB, Frontend, frontend
from tests.security.guarded import Guarded
from tests.security.pages import RATE, UPLOADS_BYTES
from tests.servers import Service


@pytest.fixture(scope="package")
def pages_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`damoscope up` with little space for uploads, and a rate that a test can reach."""
    folder = tmp_path_factory.mktemp("pages-service")
    limits = {"DAMOSCOPE_PAGE_UPLOADS_BYTES": str(UPLOADS_BYTES), "DAMOSCOPE_RATE_LIMIT": RATE}
    with Service(folder / "home", pages=True, **limits) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`damoscope up` without pages, for tests that leave it as they found it."""
    home = tmp_path_factory.mktemp("service") / "home"
    with Service(home) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """`damoscope up` with keys of each role."""
    with Guarded(tmp_path_factory.mktemp("guarded") / "home") as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="package")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    """`damoscope frontend` with little memory for uploads."""
    folder = tmp_path_factory.mktemp("bounded")
    with frontend(folder, DAMOSCOPE_UPLOAD_MEMORY_MB=str(MEMORY_MB)) as running:
        yield running
