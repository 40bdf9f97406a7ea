"""monitoring.alerts.evaluator: real Redis, the real embedded store, a clock of our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from monitoring.alerts.evaluator import GAP_S, Evaluator
from monitoring.alerts.ledger import HISTORY_MAX, Ledger
from monitoring.alerts.overview import overview
from monitoring.alerts.rules import read
from monitoring.alerts.schema import Episode
from monitoring.messages import Message
from monitoring.notify.notice import Notice
from monitoring.stores.contract import TraceSummary
from monitoring.stores.embedded.store import EmbeddedStore
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from telemetry import catalogue
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process
from tests.paths import NO_OBJECTIVES
from tests.servers import RedisProcess

COOLDOWN_S = 300.0
AGE = {"name": "Waits", "metric": "queue_age_s", "comparison": ">", "threshold": 10, "for": "20s",
       "severity": "critical", "message": {"en": "waits {value}", "zh": "等待 {value}"},
       "action": {"en": "Add workers.", "zh": "增加工作进程。"}}  # fmt: skip
ERRORS = {"name": "Fails", "metric": "success_rate", "window": "1m", "comparison": "<",
          "threshold": 0.9, "severity": "warning",
          "message": {"en": "{value} ok", "zh": "{value} 成功"}}  # fmt: skip


class Ages:
    """A store in which the oldest image has waited for `value` seconds."""

    value: float | None = None
    away = False

    def latest(
        self, metric: str, *, across: str = "sum", by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
    ) -> dict[tuple[str, ...], float]:  # fmt: skip
        if self.away:
            raise Unavailable("the store is away")
        return {} if self.value is None else {(): self.value}


class NoTraces:
    def search(self, **_: Any) -> list[TraceSummary]:
        return []


@pytest.fixture
def redis(server: RedisProcess) -> Redis:
    server.client.flushall()
    return server.client


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump({"cooldown": COOLDOWN_S, "rules": [AGE]}))
    return Settings(alerts=path, slo=NO_OBJECTIVES, public_url="https://eye.example")


class Watch:
    """A watcher that can be restarted, and what it has sent."""

    def __init__(self, configured: Settings, redis: Redis) -> None:
        self.configured, self.redis, self.ledger = configured, redis, Ledger(redis)
        self.store, self.at = Ages(), 1_000_000.0
        self.sent: list[tuple[float, Notice]] = []
        self.restart()

    def restart(self, *, killed: bool = False) -> None:
        if killed:
            self.redis.delete("damoscope:alerts:leader")  # as if its time had run out
        elif hasattr(self, "evaluator"):
            self.evaluator.close()
        self.evaluator = Evaluator(
            self.configured, self.store, NoTraces(), self.redis,  # type: ignore[arg-type]
            lambda notice: self.sent.append((self.at, notice)),
        )  # fmt: skip

    def tick(self, value: float | None, seconds: float = 10.0) -> None:
        self.at += seconds
        self.store.value = value
        self.evaluator.tick(self.at)

    @property
    def state(self) -> str:
        return self.ledger.standings()["Waits"].state

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for _, notice in self.sent]


@pytest.fixture
def watch(configured: Settings, redis: Redis) -> Iterator[Watch]:
    watch = Watch(configured, redis)
    yield watch
    watch.evaluator.close()


def test_fires_and_resolves(watch: Watch) -> None:
    """Pending, firing, resolved: with times, the worst value, and a notice at each end."""
    began = watch.at + 10
    for value in (30, 35, 50, 40):
        watch.tick(value)
    assert watch.state == "firing"
    watch.tick(1)
    assert watch.state == "inactive"
    (episode,) = watch.ledger.history()
    assert (episode.pending_at, episode.fired_at) == (began, began + 20)
    assert episode.resolved_at == began + 40
    assert (episode.value, episode.worst, episode.notified) == (50, 50, True)
    assert watch.ledger.open() == {}
    (_, firing), (_, resolved) = watch.sent
    assert firing.kind == "firing"
    assert firing.title == Message(
        en="Critical: Waits: waits 50 s", zh="严重：Waits：等待 50 s"
    )  # fmt: skip
    assert "Add workers." in firing.body.en
    assert "增加工作进程。" in firing.body.zh
    assert "https://eye.example/monitor?alert=Waits" in firing.body.en
    assert resolved.kind == "resolved"
    assert resolved.title == Message(en="Resolved: Waits", zh="已恢复：Waits")
    assert "While it fired: waits 50 s" in resolved.body.en
    assert "Add workers." not in resolved.body.en


def test_too_short_is_nothing(watch: Watch) -> None:
    """A figure that is beyond its threshold for less than `for` leaves no episode."""
    for value in (30, 30, 5, 30, None, 30):
        watch.tick(value)
    assert watch.state == "pending"
    assert watch.ledger.history() == []
    assert watch.sent == []


def test_not_measured_any_more(watch: Watch) -> None:
    """A figure that nobody reports ends its alert, as it does in Prometheus."""
    for value in (30, 30, 30, None):
        watch.tick(value)
    assert watch.state == "inactive"
    assert watch.kinds == ["firing", "resolved"]
    assert "not measured any more" in watch.sent[1][1].body.en


def test_restart_in_between(watch: Watch) -> None:
    """A restart while pending or firing changes nothing, and nothing is sent twice."""
    watch.tick(30)
    watch.restart()
    watch.tick(30)
    watch.restart(killed=True)
    watch.tick(30)
    assert watch.state == "firing"
    watch.restart(killed=True)
    watch.tick(30)
    watch.restart()
    watch.tick(30)
    assert watch.kinds == ["firing"]
    assert len(watch.ledger.history()) == 1
    watch.tick(0)
    assert watch.kinds == ["firing", "resolved"]


def test_killed_before_it_could_save(watch: Watch) -> None:
    """A tick that is cut short between the episode and the states is done again, once."""
    for _ in range(2):
        watch.tick(30)
    saved = watch.ledger.standings()
    watch.tick(30)
    watch.ledger.save(saved, watch.at - 10)
    watch.restart(killed=True)
    watch.tick(30)
    assert watch.kinds == ["firing"]
    assert len(watch.ledger.history()) == 1


def test_flapping_is_sent_once_in_a_cooldown(watch: Watch) -> None:
    """Each time is recorded; within the cooldown neither firing nor end is sent."""
    for _ in range(4):
        for value in (30, 30, 30, 0):
            watch.tick(value)
    assert len(watch.ledger.history()) == 4
    assert [episode.notified for episode in watch.ledger.history()] == [False] * 3 + [True]
    assert watch.kinds == ["firing", "resolved"]


def test_what_still_fires_after_the_cooldown_is_sent(watch: Watch) -> None:
    """The cooldown delays, it does not swallow: a lasting second time is sent when it is over."""
    for value in (30, 30, 30, 0, 30, 30, 30):
        watch.tick(value)
    assert watch.kinds == ["firing", "resolved"]
    watch.tick(30, COOLDOWN_S)
    assert watch.kinds == ["firing", "resolved", "firing"]
    watch.tick(0)
    assert watch.kinds == ["firing", "resolved", "firing", "resolved"]


@pytest.mark.parametrize("name", ["Waits", "*"])
def test_silence(watch: Watch, name: str) -> None:
    """Nothing is sent while it lasts; what still fires when it ends is sent then."""
    watch.ledger.silence(name, 5, "repair", now_s=watch.at)
    for _ in range(4):
        watch.tick(30)
    assert watch.sent == []
    (episode,) = watch.ledger.history()
    assert (episode.silenced, episode.notified) == (True, False)
    watch.tick(30, 300)
    assert watch.kinds == ["firing"]


def test_a_silence_that_is_ended(watch: Watch) -> None:
    """Ending it by hand has the same effect, at the next tick; other rules' do not count."""
    watch.ledger.silence("Other", 60, now_s=watch.at)
    mine = watch.ledger.silence("Waits", 60, now_s=watch.at)
    for _ in range(4):
        watch.tick(30)
    assert watch.sent == []
    assert watch.ledger.unsilence(mine.id)
    assert not watch.ledger.unsilence(mine.id)
    watch.tick(30)
    assert watch.kinds == ["firing"]


def test_a_long_pause_begins_pending_anew(watch: Watch) -> None:
    """What was not looked at for a while has not lasted all the while."""
    watch.tick(30)
    watch.tick(30, GAP_S + 1)
    assert watch.state == "pending"
    watch.tick(30, 20)
    assert watch.state == "firing"


def test_the_store_is_away(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """States stay as they are, the reason is kept, and it is logged once."""
    for _ in range(3):
        watch.tick(30)
    watch.store.away = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watch.tick(30)
    assert watch.state == "firing"
    assert watch.ledger.evaluated()[1] == "the store is away"
    assert len(caplog.records) == 1
    rules = read(watch.configured.alerts)
    assert "the store is away" in overview(rules, watch.ledger, None, [], now_s=watch.at).problem
    watch.store.away = False
    watch.tick(30)
    assert watch.ledger.evaluated() == (watch.at, "")
    assert watch.kinds == ["firing"]


def test_redis_is_away(configured: Settings, tmp_path: Path) -> None:
    """Ticks go by without an error, and go on when it is back."""
    with RedisProcess(tmp_path / "own") as server:
        watch = Watch(configured, server.client)
        watch.tick(30)
        server.stop()
        for _ in range(3):
            watch.tick(30)
        server.start()
        watch.redis.delete("damoscope:alerts:leader")
        for _ in range(3):
            watch.tick(30)
        assert watch.state == "firing"
        assert watch.kinds == ["firing"]
        watch.evaluator.close()


def test_only_one_watcher_evaluates(watch: Watch, configured: Settings, redis: Redis) -> None:
    """A second one waits, and takes over when the first has gone."""
    watch.tick(30)
    other = Watch(configured, redis)
    other.at = watch.at
    for _ in range(3):
        other.tick(30)
        watch.tick(30)
    assert (watch.kinds, other.kinds) == (["firing"], [])
    watch.evaluator.close()
    other.tick(0)
    assert other.kinds == ["resolved"]
    other.evaluator.close()


def test_a_rule_that_is_taken_out(watch: Watch, tmp_path: Path) -> None:
    """Its episode ends with it, and nothing is sent."""
    for _ in range(3):
        watch.tick(30)
    watch.configured.alerts.write_text(yaml.safe_dump({"rules": [ERRORS]}))
    watch.store.increase = lambda *_, **__: {}  # type: ignore[attr-defined]
    watch.restart()
    watch.tick(30)
    assert watch.ledger.open() == {}
    assert watch.ledger.history()[0].resolved_at == watch.at
    assert watch.kinds == ["firing"]


READINGS = st.lists(
    st.tuples(st.sampled_from([0.0, 30.0, None]), st.sampled_from([5.0, 10.0, 30.0, 200.0]),
              st.booleans()), max_size=25)  # fmt: skip


@given(readings=READINGS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens(
    configured: Settings, redis: Redis, readings: list[tuple[float | None, float, bool]]
) -> None:
    """Restarts change nothing; firing and end alternate; two that fire are a cooldown apart; an
    episode is open while, and only while, its rule fires."""
    runs = []
    for restarts in (True, False):
        redis.flushall()
        watch = Watch(configured, redis)
        for value, pause, restart in readings:
            if restart and restarts:
                watch.restart(killed=value is None)
            watch.tick(value, pause)
            assert set(watch.ledger.open()) == ({"Waits"} if watch.state == "firing" else set())
        watch.evaluator.close()
        history = [episode.model_copy(update={"id": ""}) for episode in watch.ledger.history()]
        sent = [(at, notice.model_copy(update={"about": ""})) for at, notice in watch.sent]
        runs.append((sent, history))  # ids are made anew
        fired = [at for at, notice in watch.sent if notice.kind == "firing"]
        assert all(later - earlier >= COOLDOWN_S for earlier, later in pairwise(fired))
        assert watch.kinds == ["firing", "resolved"] * (len(watch.sent) // 2) + ["firing"] * (
            len(watch.sent) % 2
        )
        for newer, older in pairwise(history):
            assert older.resolved_at is not None
            assert older.resolved_at <= newer.fired_at
    assert runs[0] == runs[1]


def test_the_embedded_store_and_an_example(
    redis: Redis, tmp_path: Path, store: EmbeddedStore, clock: Clock
) -> None:
    """Over real telemetry: the alert names the last image that failed, and how many did not."""
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump({"rules": [ERRORS]}))
    sent: list[Notice] = []
    evaluator = Evaluator(
        Settings(alerts=path, slo=NO_OBJECTIVES), store.metrics, store.traces, redis, sent.append
    )
    process = Process()
    for outcome, count in (("ok", 6), ("failed", 2)):
        store.receive_metrics(
            process.counter(catalogue.REQUESTS, NOW_S - 10, count, outcome=outcome)
        )
    spans = {}
    for seconds, outcome in ((40, "failed"), (30, "failed"), (20, "ok")):
        frontend, worker = traffic.image(
            int((NOW_S - seconds) * 1e9), outcome=outcome,
            error="it broke" if outcome == "failed" else None,
        )  # fmt: skip
        store.receive_traces(traffic.encoded(frontend + worker))
        spans[seconds] = traffic.trace_id(frontend)
    store.flush()
    evaluator.tick(NOW_S)
    evaluator.close()
    (notice,) = sent
    assert notice.title.en == "Warning: Fails: 75 % ok"
    (episode,) = Ledger(redis).history()
    assert episode.example_trace_id == spans[30]
    assert spans[30] in notice.body.en
    (alert,) = overview(read(path), Ledger(redis), None, ["json"], now_s=NOW_S + 1).alerts
    assert (alert.state, alert.value, alert.card) == ("firing", 0.75, "success_rate")
    assert alert.example_trace_id == spans[30]


OBJECTIVE = {"name": "Up", "sli": "availability", "target": 0.99,
             "description": {"en": "Answers come.", "zh": "有应答。"}}  # fmt: skip


def test_a_budget_that_burns(
    redis: Redis, store: EmbeddedStore, clock: Clock, tmp_path: Path
) -> None:
    """An objective's alerts are episodes and notices as a rule's are. They are measured once a
    minute; the fast one ends when the last five minutes are good again, the slow ones go on."""
    for name, text in (("alerts", {"rules": []}), ("slo", {"objectives": [OBJECTIVE]})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(text))
    files = Settings(alerts=tmp_path / "alerts.yaml", slo=tmp_path / "slo.yaml")
    sent: list[Notice] = []
    evaluator = Evaluator(files, store.metrics, store.traces, redis, sent.append)
    process, ledger = Process(), Ledger(redis)

    def ended(seconds: float, **counts: int) -> list[str]:
        clock.now_s = NOW_S + seconds
        for outcome, count in counts.items():
            store.receive_metrics(
                process.counter(catalogue.REQUESTS, clock.now_s - 1, count, outcome=outcome)
            )
        store.flush()
        evaluator.tick(clock.now_s)
        return sorted(ledger.open())

    assert ended(0, ok=70) == []
    assert ended(30, ok=70, failed=30) == [], "it was measured half a minute ago"
    assert ended(60) == ["UpBurn1h", "UpBurn3d", "UpBurn6h"]
    for minute in range(2, 8):
        going_on = ended(60 * minute, ok=70 + 10 * minute)
    assert going_on == ["UpBurn3d", "UpBurn6h"]
    evaluator.close()
    fired = [notice.title.en for notice in sent if notice.kind == "firing"]
    assert fired[0] == (
        "Critical: UpBurn1h: The error budget of Up burns 30 times as fast as it may, over 1 h and "
        "over the last 5 min; the limit is 14.4."
    )
    assert len(fired) == 3


LASTS = ERRORS | {"window": "5m", "for": "1m", "at_least": 10, "threshold": 0.95}
#: Export by export, every 5 s: how many succeed, how many fail.
WELL, BROKEN, LEAKS = (10, 0), (0, 10), (9, 1)


@pytest.mark.parametrize(
    ("exports", "fires"),
    [
        # Five minutes of good images before, and after.
        ([WELL] * 60 + [BROKEN] * 5 + [WELL] * 70, 0),
        ([WELL] * 60 + [BROKEN] * 16 + [WELL] * 70, 1),
        # One in ten fails for good: it fires and stays, and ends once.
        ([WELL] * 60 + [LEAKS] * 100 + [WELL] * 70, 1),
        # Bursts that come again within the window are over each time.
        ([WELL] * 60 + ([BROKEN] * 4 + [WELL] * 12) * 4 + [WELL] * 70, 0),
        # Too few images come to judge the last 30 s by: what is known is that half of them fail.
        ([WELL] * 60 + [BROKEN] * 5 + [(0, 0)] * 40, 1),
    ],
    ids=["a burst", "it lasts", "it lasts a little", "bursts", "none came since"],
)
def test_a_burst_that_stays_in_the_window(
    redis: Redis, tmp_path: Path, store: EmbeddedStore, clock: Clock,
    exports: list[tuple[int, int]], fires: int,
) -> None:  # fmt: skip
    """A rule fires on what lasts: what came and went within half of `for` is in the window's
    figure for as long as the window is long, and fires nothing."""
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump({"rules": [LASTS]}))
    evaluator = Evaluator(
        Settings(alerts=path, slo=NO_OBJECTIVES), store.metrics, store.traces, redis, print
    )
    process, sums, beyond_s = Process(), [0, 0], 0
    for number, export in enumerate(exports):
        clock.now_s = NOW_S + 5 * number + 1
        sums = [total + more for total, more in zip(sums, export, strict=True)]
        for outcome, total in zip(("ok", "failed"), sums, strict=True):
            store.receive_metrics(
                process.counter(catalogue.REQUESTS, clock.now_s - 1, total, outcome=outcome)
            )
        store.flush()
        evaluator.tick(clock.now_s)
        standing = Ledger(redis).standings()["Fails"]
        beyond_s += 5 * (standing.value is not None and standing.value < LASTS["threshold"])
    evaluator.close()
    assert beyond_s > 100  # which is longer than `for`, each time
    assert len(Ledger(redis).history()) == fires


def test_overview(watch: Watch) -> None:
    """It says when nobody evaluates, and shows firing rules with their silences."""
    rules, ledger = read(watch.configured.alerts), watch.ledger
    fresh = overview(rules, ledger, None, ["mailto"], now_s=watch.at)
    assert fresh.evaluated_at is None
    assert "no watcher runs" in fresh.problem
    assert "监视进程" in fresh.problem_zh
    assert [alert.state for alert in fresh.alerts] == ["inactive"]
    assert fresh.channels == ["mailto"]
    for _ in range(3):
        watch.tick(30)
    silence = ledger.silence("*", 10, now_s=watch.at)
    found = overview(rules, ledger, None, [], now_s=watch.at)
    assert (found.source, found.problem, found.evaluated_at) == ("watcher", "", watch.at)
    (alert,) = found.alerts
    assert (alert.state, alert.since_at, alert.value) == ("firing", watch.at, 30)
    assert alert.silenced_until_at == silence.until_at
    assert found.silences == [silence]
    assert len(found.history) == 1
    assert "no watcher runs" in overview(rules, ledger, None, [], now_s=watch.at + 3600).problem


def test_history_is_bounded(redis: Redis) -> None:
    """The oldest episodes go; one that goes on stays, whatever its age."""
    ledger = Ledger(redis)
    text = Message(en="x", zh="x")

    def episode(number: int) -> Episode:
        return Episode(
            id=f"e{number}", name="A", severity="info", message=text, pending_at=number,
            fired_at=number, resolved_at=None, value=1, worst=1, example_trace_id=None,
            silenced=False, notified=False,
        )  # fmt: skip

    ledger.begin("lasting", episode(0))
    for number in range(1, HISTORY_MAX + 20):
        ledger.begin("A", episode(number))
        ledger.end("A", episode(number).model_copy(update={"resolved_at": number + 1.0}))
    found = ledger.history(limit=10_000)
    assert HISTORY_MAX <= len(found) <= HISTORY_MAX + 2
    assert found[0].id == f"e{HISTORY_MAX + 19}"
    assert found[-1].id == "e0"
    assert set(ledger.open()) == {"lasting"}
    assert [each.id for each in ledger.history(10, since_s=HISTORY_MAX + 18)] == [
        f"e{HISTORY_MAX + 19}", f"e{HISTORY_MAX + 18}",
    ]  # fmt: skip
