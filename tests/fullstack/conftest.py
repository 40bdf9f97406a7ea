"""The whole system, started once for all tests of this folder: real servers, real service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from run.stack.native import Stack
from run.stack.ports import Ports
from tests.fullstack.service import Load, Service


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All servers, one frontend and two workers with the settings that Compose gives them."""
    with Stack(tmp_path_factory.mktemp("fullstack"), Ports.free()) as running:
        running.start_app(workers=2)
        yield running


@pytest.fixture(scope="package")
def service(stack: Stack) -> Iterator[Service]:
    """The service as its clients see it, once its own metrics have arrived."""
    with Service(stack) as opened:
        opened.wait_for_first_metrics()
        yield opened


@pytest.fixture(scope="package")
def load(service: Service) -> Load:
    """Some images, spread over a few scrapes; all of them counted when this returns."""
    sent = service.send_load()
    service.wait_until_counted()
    return sent
