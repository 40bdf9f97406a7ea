"""benchmarks.idle: every process of the service is counted, and Redis' work."""

from __future__ import annotations

from benchmarks.fleet.measure import Cost
from benchmarks.idle import Idle, measured, service, table


def test_every_process_is_counted() -> None:
    """By what it is, with its memory; Redis is asked something even while nothing comes."""
    with service(workers=1) as running:
        found, redis = measured(running, seconds=2.0)
    assert {each.kind: each.processes for each in found} == {
        "up": 1, "worker": 1, "frontend": 1, "watcher": 1, "redis": 1,
    }  # fmt: skip
    assert all(0 < each.pss <= each.rss for each in found)
    assert redis.commands > 0


def test_the_table() -> None:
    """Has what each takes, and all together."""
    found = [Idle("worker", 2, 1.5, 200.0, 150.0), Idle("redis", 1, 3.0, 13.0, 5.0)]
    text = table(found, Cost(100.0, 7000.0, 2000.0, 3.0))
    assert "| worker | 2 | 1.5 | 200 | 150 |" in text
    assert "| all | 3 | 6.0 in all | | 305 in all |" in text
    assert text.endswith("Redis: 100.0 commands, 7.0 kB in and 2.0 kB out a second.")
