"""The simulated day of the chart's scaling rule: its parts, and a quarter of an hour of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from benchmarks.autoscaling import __main__ as day
from benchmarks.autoscaling.figures import outcome
from benchmarks.autoscaling.rule import Autoscaler
from benchmarks.autoscaling.service import DAY, HOUR, IMAGE_S, Service, arrivals
from run.stack.binaries import BINARIES, find
from tests.paths import ROOT

CHART = ROOT / "deploy" / "helm" / "damoscope"


def autoscaler(least: int = 1, most: int = 20) -> Autoscaler:
    """With the behaviour that the chart's values have."""
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    behavior = values["worker"]["autoscaling"]["behavior"]
    config = {"horizontalPodAutoscalerConfig": {"behavior": behavior}}
    return Autoscaler({"minReplicaCount": least, "maxReplicaCount": most, "advanced": config})


def test_up_by_four_or_twice() -> None:
    """Every 15 s, whichever is more; never beyond the most there may be."""
    rule, current, seen = autoscaler(), 1, []
    for step in range(4):
        current = rule.decide([(16.0, 0.8)], current, step * 15.0)
        seen.append(current)
    assert seen == [5, 10, 20, 20]


def test_slowly_back() -> None:
    """Once less was enough for five minutes, by half every minute."""
    rule, current, seen = autoscaler(), 20, []
    rule.decide([(16.0, 0.8)], current, 0.0)
    for step in range(1, 40):
        current = rule.decide([(0.8, 0.8)], current, step * 15.0)
        seen.append(current)
    assert seen[:19] == [20] * 19
    assert seen[19:32] == [10] * 4 + [5] * 4 + [2] * 4 + [1]


def test_without_an_answer_nobody_is_taken_away() -> None:
    """Nor where one of two triggers has none; the other may still ask for more."""
    rule = autoscaler()
    assert rule.decide([(None, 0.8)], 7, 0.0) == 7
    assert rule.decide([(None, 0.8), (2.0, 1.0)], 7, 400.0) == 7
    assert rule.decide([(None, 0.8), (9.0, 1.0)], 7, 800.0) == 9


def test_a_tenth_more_or_less_changes_nothing() -> None:
    """As in a HorizontalPodAutoscaler."""
    assert autoscaler().decide([(0.8 * 10.9, 0.8)], 10, 0.0) == 10
    assert autoscaler().decide([(0.8 * 11.1, 0.8)], 10, 0.0) == 12


def test_each_camera_sends_an_image_a_second() -> None:
    """In the shift that it has, and nothing comes at night."""
    images = arrivals(DAY, 0.0, 24 * HOUR, seed=1)
    assert images == sorted(images)
    assert len(images) == pytest.approx((100 * 7 + 30) * HOUR, rel=0.001)
    assert images[0] >= 9 * HOUR
    assert arrivals(DAY, 17.1 * HOUR, 24 * HOUR, seed=1) == []


def test_images_wait_for_their_turn() -> None:
    """One worker does twenty a second; what could not be answered in time is refused."""
    service = Service(start_s=30.0)
    service.scale(1, 0.0, start_s=0.0)
    service.run([1.0, 1.0, 1.0], 0.0, 5.0)
    waits = [took for _, took in service.answered]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(3 * IMAGE_S, rel=0.2)
    service.run([6.0] * 700, 5.0, 60.0)
    assert service.waiting == 0
    assert len(service.refused) == pytest.approx(100, abs=2)
    assert service.worker_s == 60.0


def test_new_workers_begin_once_they_are_ready() -> None:
    """They cost from the moment that they are asked for; those that leave take no more images."""
    service = Service(start_s=30.0)
    service.scale(1, 0.0)
    service.run([1.0], 0.0, 20.0)
    assert service.refused == [1.0]  # nobody is there
    service.run([31.0], 20.0, 40.0)
    assert len(service.answered) == 1
    service.scale(2, 40.0, start_s=0.0)
    service.scale(1, 50.0)
    service.run([51.0] * 10, 40.0, 60.0)
    assert [worker.name for worker in service.workers if worker.images == 11] == ["w0"]


@pytest.mark.kube  # needs Helm, and Prometheus as it is pinned
@pytest.mark.timeout(300)
def test_the_start_of_the_cameras() -> None:
    """By the chart's own query, in a real Prometheus: workers are there within two minutes, and
    with known times before anybody waits."""
    (binary,) = (each for each in BINARIES if each.name == "prometheus")
    if find(binary, ROOT) is None:
        pytest.skip("needs Prometheus as it is pinned: python -m run.stack fetch")
    made = day.runs(fixed=7)
    workers = day.simulate(made, 8.8 * HOUR, 9.05 * HOUR, seed=1)
    found = {
        name: outcome(run.title, run.service, workers[name], 8.8 * HOUR, day.EXPORT_S)
        for name, run in made.items()
    }
    assert max(found["shipped"].workers) >= 7
    assert found["shipped"].settled_s < 120
    assert found["nodes"].settled_s > found["shipped"].settled_s
    assert found["cron"].refused == found["fixed"].refused == 0
    assert found["cron"].first_p95_s < 0.2
    assert found["cron"].worker_hours < found["fixed"].worker_hours
