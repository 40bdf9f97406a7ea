"""monitoring.alerts.watching, and rules that are switched off: what is shown of a quiet rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis

from monitoring.alerts.evaluator import Evaluator
from monitoring.alerts.figures import FIGURES
from monitoring.alerts.ledger import Ledger
from monitoring.alerts.overview import overview
from monitoring.alerts.render import render
from monitoring.alerts.rules import Rule, Rules, read
from monitoring.alerts.watching import NAMES, watches
from monitoring.notify.notice import Notice
from monitoring.stores.embedded.store import EmbeddedStore
from pipeline.settings import Settings
from telemetry import catalogue
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process
from tests.servers import RedisProcess

DEEP: dict[str, Any] = {
    "name": "Deep", "metric": "queue_depth", "comparison": ">", "threshold": 10,
    "severity": "warning", "message": {"en": "{value} wait", "zh": "{value} 张在等"},
}  # fmt: skip


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as running:
        yield running.client


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A store in which twelve images wait."""
    store = EmbeddedStore(tmp_path / "telemetry.db", clock=Clock(NOW_S))
    process = Process("a", NOW_S - 60)
    store.receive_metrics(process.gauge(catalogue.QUEUE_DEPTH, NOW_S - 5, 12, queue="normal"))
    store.flush()
    yield store
    store.close()


def written(folder: Path, **changes: Any) -> Settings:
    path = folder / "alerts.yaml"
    path.write_text(yaml.safe_dump({"rules": [DEEP | changes]}))
    return Settings(alerts=path)


def evaluated(settings: Settings, store: EmbeddedStore, redis: Redis, sent: list[Notice]) -> None:
    evaluator = Evaluator(settings, store.metrics, store.traces, redis, sent.append)
    evaluator.tick(NOW_S)
    evaluator.close()


def test_a_rule_that_is_switched_off(tmp_path: Path, deep: EmbeddedStore, redis: Redis) -> None:
    """It fires nowhere, sends nothing, and Prometheus gets no rule; what it had going on ends."""
    redis.flushall()
    sent: list[Notice] = []
    on = written(tmp_path)
    evaluated(on, deep, redis, sent)
    assert [each.kind for each in sent] == ["firing"]
    off = written(tmp_path, enabled=False)
    evaluated(off, deep, redis, sent)
    assert [each.kind for each in sent] == ["firing"]
    rules, ledger = read(off.alerts), Ledger(redis)
    (alert,) = overview(rules, ledger, None, [], now_s=NOW_S).alerts
    assert (alert.enabled, alert.state, alert.value) == (False, "inactive", None)
    (episode,) = ledger.history()
    assert episode.resolved_at == NOW_S
    assert yaml.safe_load(render(rules))["groups"][0]["rules"] == []
    assert len(yaml.safe_load(render(read(written(tmp_path).alerts)))["groups"][0]["rules"]) == 1


def test_the_page_before_the_next_evaluation(
    tmp_path: Path, deep: EmbeddedStore, redis: Redis
) -> None:
    """A frontend that knows that a rule is off says so, whatever the last evaluation was."""
    redis.flushall()
    evaluated(written(tmp_path), deep, redis, [])
    rules = read(written(tmp_path, enabled=False).alerts)
    (alert,) = overview(rules, Ledger(redis), None, [], now_s=NOW_S).alerts
    assert (alert.enabled, alert.state) == (False, "inactive")


def test_an_inactive_rule_says_what_it_watches(
    tmp_path: Path, deep: EmbeddedStore, redis: Redis
) -> None:
    """Not the sentence of firing with a figure in it that is nothing to worry about."""
    redis.flushall()
    quiet = written(tmp_path, threshold=100)
    evaluated(quiet, deep, redis, [])
    (alert,) = overview(read(quiet.alerts), Ledger(redis), None, [], now_s=NOW_S).alerts
    assert (alert.state, alert.value) == ("inactive", 12)
    assert alert.message.en == "Fires when the number of images that wait is > 100."
    assert alert.message.zh == "当排队的图片数 > 100 时触发。"
    loud = written(tmp_path)
    evaluated(loud, deep, redis, [])
    (alert,) = overview(read(loud.alerts), Ledger(redis), None, [], now_s=NOW_S).alerts
    assert (alert.state, alert.message.en) == ("firing", "12 wait")


def test_a_condition_in_words() -> None:
    """Figure, attributes, window, threshold and how long, in both languages."""
    rule = Rule.model_validate(
        DEEP | {"metric": "stage_p95_s", "where": {"stage": "nms"}, "window": "5m", "for": "2m",
                "threshold": 0.1}
    )  # fmt: skip
    said = watches(rule)
    assert said.en == (
        "Fires when the stage's p95 (stage=nms) over 5 min, and over the last 60 s, is > 100 ms "
        "for 2 min."
    )
    assert said.zh == (
        "当最近 5 min 以及最近 60 s 的阶段耗时 p95（stage=nms） > 100 ms 持续 2 min 时触发。"
    )
    said = watches(rule.model_copy(update={"window": 60.0}))
    assert said.en == "Fires when the stage's p95 (stage=nms) over 60 s is > 100 ms for 2 min."
    assert said.zh == "当最近 60 s 的阶段耗时 p95（stage=nms） > 100 ms 持续 2 min 时触发。"


def test_every_figure_has_a_name() -> None:
    """In both languages."""
    assert set(NAMES) == set(FIGURES)
    assert all(name.en and name.zh for name in NAMES.values())


def test_rules_are_on_unless_they_say_otherwise() -> None:
    """Every rule of a file is enabled by default."""
    assert [rule.name for rule in Rules.model_validate({"rules": [DEEP]}).enabled] == ["Deep"]
