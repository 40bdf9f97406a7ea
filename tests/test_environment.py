"""tests.servers: what the processes that tests start are given."""

from __future__ import annotations

from tests.servers import environment


def test_environment_is_clean() -> None:
    """Nothing of the caller's own configuration reaches the processes that tests start."""
    names = [name for name in environment() if name.startswith(("DAMOSCOPE_", "REDIS_URL"))]
    assert names == []
