"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """The command line makes its process' files private; the next test's are as usual."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
