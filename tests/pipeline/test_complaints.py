"""pipeline.complaints: a cause is named once a minute, whatever it is noticed by."""

from __future__ import annotations

import logging

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from pipeline import complaints
from pipeline.complaints import CAUSES_MAX, COMPLAIN_S, Complaints

log = logging.getLogger("test")


def test_a_line_a_minute_for_each_cause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second time within a minute, by another command, adds nothing; another cause does."""
    now_s = 1000.0
    monkeypatch.setattr(complaints.time, "monotonic", lambda: now_s)
    of = Complaints()
    of.of_redis(log, OutOfMemoryError("command not allowed"), "recovery", "trying until it does")
    of.of_redis(log, OutOfMemoryError("another text"), "heartbeat")
    of.of_redis(log, RedisConnectionError("refused"))
    now_s += COMPLAIN_S
    of.of_redis(log, OutOfMemoryError("later"))
    assert [record.getMessage() for record in caplog.records] == [
        "recovery: Redis is full (command not allowed); trying until it does",
        "Redis does not answer (refused)",
        "Redis is full (later)",
    ]


def test_causes_do_not_add_up() -> None:
    """Texts that are new each time are forgotten before they fill the memory."""
    of = Complaints()
    assert all(of.due(f"cause {number}") for number in range(3 * CAUSES_MAX))
    assert len(of._said_s) <= CAUSES_MAX
