"""monitoring.figures.marks: new processes and models, in both stores, and none that was there."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring.figures.marks import LOOK_BACK_S, marks
from telemetry import catalogue
from tests.monitoring.conftest import NOW_S
from tests.monitoring.figures.test_observed import stores
from tests.monitoring.scenario import Scenario


@pytest.fixture(params=["embedded", pytest.param("prometheus", marks=pytest.mark.stack)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def alive(story: Scenario, who: str, begin_ago_s: int, end_ago_s: int, version: str = "") -> None:
    """A process that reports its memory every ten seconds, and its workers' model if it has one."""
    for ago_s in range(begin_ago_s, end_ago_s, -10):
        story.gauge(who, catalogue.PROCESS_MEMORY, NOW_S - ago_s, 2.0**27)
        if version:
            labels = {"model": "phone", "version": version}
            story.gauge(who, catalogue.WORKER_MODELS, NOW_S - ago_s, 1, **labels)


def test_what_is_new(kind: str, tmp_path: Path) -> None:
    """A process that begins in the time is told with when it was first heard of; one that was there
    before, or is of another time, is not. A model is new when no worker had it before."""
    story = Scenario()
    alive(story, "old", 3000, 0, version="v1")
    alive(story, "new", 600, 0, version="v2")
    alive(story, "gone", 2900, 2500)
    with stores(kind, story, tmp_path) as (metrics, _):
        found = marks(metrics, 1200, NOW_S)
        assert [each.count for each in found.processes] == [1]
        assert found.processes[0].at_s == pytest.approx(NOW_S - 600, abs=2 * found.step_s + 5)
        assert [(each.model, each.version) for each in found.models] == [("phone", "v2")]
        assert found.models[0].at_s == found.processes[0].at_s
        assert found.complete
        assert marks(metrics, 300, NOW_S).processes == []
        over = marks(metrics, 1200, NOW_S, end_s=NOW_S - 700)
        assert (over.processes, over.models) == ([], [])


def test_a_silence_is_no_start(kind: str, tmp_path: Path) -> None:
    """A process that is heard of again after minutes of silence has not begun anew."""
    story = Scenario()
    alive(story, "one", 900, 600)
    alive(story, "one", 300, 0)
    with stores(kind, story, tmp_path) as (metrics, _):
        assert LOOK_BACK_S >= 600
        assert marks(metrics, 400, NOW_S).processes == []


def test_a_long_time_has_none(kind: str, tmp_path: Path) -> None:
    """What would take reading every process's samples of a month is not looked for, and said so."""
    story = Scenario()
    alive(story, "new", 600, 0, version="v1")
    with stores(kind, story, tmp_path) as (metrics, _):
        found = marks(metrics, 30 * 86400, NOW_S)
        assert (found.complete, found.processes, found.models) == (False, [], [])
