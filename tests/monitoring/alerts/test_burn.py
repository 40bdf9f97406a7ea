"""monitoring.alerts.burn and .budgets: the same from the embedded store, from Prometheus, and by
PromQL, over one traffic with an outage in it.

Three days of two frontends, the first of which ends halfway; every hour a sample, and every
minute near the outage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import httpx
import pytest

from monitoring.alerts import burn, burn_rules
from monitoring.alerts.budgets import RecentBudgets, budgets
from monitoring.alerts.burn import TIERS, Counts
from monitoring.alerts.burn_rules import BurnRule
from monitoring.alerts.objectives import Objective, read
from monitoring.stores.contract import MetricsStore, Window
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from telemetry import catalogue
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.scenario import Scenario

#: Seconds into a minute at which samples come; looked is a second later.
AT = 7
#: The outage, in minutes after NOW_S: nothing succeeds, and what is answered at all is slow.
BEGINS, ENDS = -20, 5
BEGINNING, LAST = -70 * 60, 45
#: When the budgets are looked at.
CALM, OUTAGE, OVER = -61, 0, 40
AVAILABILITY, LATENCY = read(None)


def minutes() -> list[int]:
    return [*range(BEGINNING, -60, 60), *range(-60, -30, 5), *range(-30, LAST + 1)]


@pytest.fixture(scope="module")
def told() -> Scenario:
    """Each sample has four requests more: three of the service's, one of a client that is over its
    rate. Two are answered well, one invalid, unless there is an outage."""
    told = Scenario()
    for who, first, last in (("f1", BEGINNING, BEGINNING // 2), ("f2", BEGINNING // 2 + 1, LAST)):
        counts = {"ok": 0, "invalid": 0, "failed": 0, "rejected": 0, "timeout": 0}
        took: list[float] = []
        for minute in (each for each in minutes() if first <= each <= last):
            at, out = NOW_S + 60 * minute + AT, BEGINS <= minute < ENDS
            counts["failed" if out else "ok"] += 1
            counts["timeout" if out and minute % 2 else "ok"] += 1
            counts["invalid"] += 1
            counts["rejected"] += 1
            took += [5.0, 30.0] if out else [0.1, 2.0]
            for outcome, count in counts.items():
                told.counter(who, catalogue.REQUESTS, at, count, outcome=outcome, route="api")
            told.counter(who, catalogue.REQUESTS_LIMITED, at, counts["rejected"], route="api")
            told.histogram(who, catalogue.REQUEST_DURATION, at, tuple(took), outcome="ok")
            told.gauge(who, catalogue.REQUESTS_ACTIVE, at, 0)
    return told


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock(NOW_S + 60 * LAST + AT + 1)


@pytest.fixture(scope="module")
def store(
    told: Scenario, clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(tmp_path_factory.mktemp("store") / "telemetry.db", clock=clock)
    told.feed(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def url(told: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that holds the same."""
    with told.prometheus(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(url: str, clock: Clock) -> Iterator[MetricsStore]:
    opened = PrometheusMetrics(url, clock=clock)
    yield opened
    opened.close()


def moment(minute: int) -> float:
    return NOW_S + 60 * minute + AT + 1


def by_promql(url: str, text: str, at: float) -> float | None:
    answer = httpx.post(f"{url}/api/v1/query", data={"query": text, "time": str(at)}).json()
    assert answer["status"] == "success", answer
    rows = answer["data"]["result"]
    assert len(rows) <= 1, rows
    value = float(rows[0]["value"][1]) if rows else math.nan
    return value if math.isfinite(value) else None


RULES = burn_rules.of([AVAILABILITY, LATENCY])
STRICT = burn_rules.of(
    [each.model_copy(update={"at_least": 190}) for each in (AVAILABILITY, LATENCY)]
)
MANY_BAD = burn_rules.of(
    [each.model_copy(update={"at_least_bad": 40}) for each in (AVAILABILITY, LATENCY)]
)


@pytest.mark.stack
@pytest.mark.parametrize("rules", [RULES, STRICT, MANY_BAD], ids=["shipped", "strict", "many-bad"])
@pytest.mark.parametrize("minute", [CALM, OUTAGE, OVER])
def test_burn_rates_are_the_same_everywhere(
    store: EmbeddedStore, clock: Clock, url: str, rules: list[BurnRule], minute: int
) -> None:
    """Over the embedded store and by PromQL: the same, None included."""
    clock.now_s = moment(minute)
    for rule in rules:
        here = rule.figure.measure(store.metrics, rule.asked, clock.now_s)
        there = by_promql(url, rule.figure.promql(rule.asked), clock.now_s)
        expected = None if there is None else pytest.approx(there, rel=1e-9)
        assert here == expected, rule.name


@pytest.mark.stack
def test_budgets_are_the_same_in_both_stores(
    store: EmbeddedStore, prometheus: MetricsStore, clock: Clock
) -> None:
    """Counts, what is left, burn rates, and since when: all of it."""
    clock.now_s = moment(OUTAGE)
    both = [
        budgets(each, [AVAILABILITY, LATENCY], clock.now_s) for each in (store.metrics, prometheus)
    ]
    here, there = (
        [each.model_dump(exclude={"since_at"}) for each in found.objectives] for found in both
    )
    assert here == there
    since = [each.since_at for found in both for each in found.objectives]
    first_s = NOW_S + 60 * BEGINNING + AT
    assert since == [pytest.approx(first_s, abs=3600)] * 4


FIRING = {
    CALM: set[str](),
    OUTAGE: {
        "AvailabilityBurn1h", "AvailabilityBurn6h", "AvailabilityBurn3d",
        "LatencyBurn6h", "LatencyBurn3d",
    },
    OVER: {"AvailabilityBurn3d", "LatencyBurn3d"},
}  # fmt: skip


@pytest.mark.parametrize("minute", FIRING)
def test_what_fires(store: EmbeddedStore, clock: Clock, minute: int) -> None:
    """Nothing before the outage. In it what burns that fast: of answers half in an hour are late,
    ten times what may be. When it is over only what the last six hours are about."""
    clock.now_s = moment(minute)
    found = {
        rule.name
        for rule in RULES
        if rule.holds(rule.figure.measure(store.metrics, rule.asked, clock.now_s))
    }
    assert found == FIRING[minute]


def test_whose_fault_it_is(store: EmbeddedStore, clock: Clock) -> None:
    """Counted by hand from what was sent: a client's bad image and what is over its own rate are
    no requests of the service's; what it refused, failed or was late with is bad."""
    clock.now_s = moment(OUTAGE)
    last = Window.last(3600.0, clock.now_s)
    requests = 2 * sum(1 for minute in minutes() if -60 < minute <= OUTAGE)
    out = OUTAGE - BEGINS + 1
    late = sum(1 for minute in range(BEGINS, OUTAGE + 1) if minute % 2)
    found = burn.counts(store.metrics, AVAILABILITY, last)
    assert found == Counts(requests, out + late)
    # Two seconds are within two seconds.
    assert burn.counts(store.metrics, LATENCY, last) == Counts(requests, 2 * out)


@pytest.mark.parametrize(
    ("total", "bad", "window_s", "expected"),
    [
        (0, 0, 300, None), (1, 1, 300, 200.0), (4, 1, 300, 50.0),
        (19, 19, 3600, None), (20, 4, 3600, 0.0), (20, 5, 3600, 50.0), (1000, 5, 3600, 1.0),
        (20, 0, 3600, 0.0), (19, 19, 259200, None),
    ],
)  # fmt: skip
def test_few_requests_say_nothing(
    total: int, bad: int, window_s: float, expected: float | None
) -> None:
    """Below 20 requests an hour, and with fewer than 5 bad ones, a night's failures are none; the
    shortest windows need one request, since they only end what a longer one says."""
    found = burn.rate(AVAILABILITY, window_s, Counts(total, bad))
    assert found == (None if expected is None else pytest.approx(expected))


def test_every_tier_is_the_workbooks() -> None:
    """Google's SRE Workbook, chapter 5, table 5-8."""
    assert [(t.factor, t.long_s / 3600, t.short_s / 60, t.severity) for t in TIERS] == [
        (14.4, 1, 5, "critical"), (6, 6, 30, "critical"), (1, 72, 360, "warning"),
    ]  # fmt: skip


# -- budgets ------------------------------------------------------------------------------


def test_what_is_left(store: EmbeddedStore, clock: Clock) -> None:
    """Counted by hand: the share of bad requests over the share that may be bad."""
    clock.now_s = moment(LAST)
    found = budgets(store.metrics, [AVAILABILITY, LATENCY], clock.now_s)
    available, latency = found.objectives
    samples = len(minutes())
    late = sum(1 for minute in range(BEGINS, ENDS) if minute % 2)
    bad = ENDS - BEGINS + late
    assert (available.requests, available.bad) == (2 * samples, bad)
    assert available.reached == pytest.approx(1 - bad / (2 * samples), abs=1e-6)
    assert available.left == pytest.approx(1 - bad / (2 * samples) / 0.005, abs=1e-5)
    assert available.left is not None
    assert available.left < 0, "overspent"
    assert (latency.requests, latency.bad) == (2 * samples, 2 * (ENDS - BEGINS))
    rates = {each.window_s: each.value for each in available.burn_rates}
    assert rates[300] == 0
    assert list(rates) == [300, 1800, 3600, 21600, 259200]
    assert available.burn_rate == rates[3600]


def test_a_store_that_knows_nothing(store: EmbeddedStore, clock: Clock) -> None:
    """None, never 0, and from now on; too few requests have a share, and no budget."""
    clock.now_s = moment(LAST)
    long_ago = moment(BEGINNING) - 40 * 86400
    found = budgets(store.metrics, [AVAILABILITY], long_ago).objectives[0]
    assert (found.requests, found.reached, found.left, found.burn_rate) == (0, None, None, None)
    assert found.since_at == long_ago
    few = AVAILABILITY.model_copy(update={"at_least": 1_000_000})
    found = budgets(store.metrics, [few], moment(LAST)).objectives[0]
    assert found.reached is not None
    assert found.left is None


def test_all_of_the_window(store: EmbeddedStore, clock: Clock) -> None:
    """Where the service was there all the time, nothing is said of since when."""
    clock.now_s = moment(BEGINNING) + 28 * 86400
    found = budgets(store.metrics, [AVAILABILITY], clock.now_s).objectives[0]
    assert found.since_at is None
    assert found.requests > 0


def test_it_is_read_once_in_a_while(store: EmbeddedStore, clock: Clock) -> None:
    """Whoever asks within 30 s gets the same; a clock that went back is no reason to keep it."""
    clock.now_s = moment(LAST)
    recent = RecentBudgets(store.metrics, [AVAILABILITY], clock)
    first = recent.read()
    clock.now_s += 29
    assert recent.read() is first
    clock.now_s += 2
    second = recent.read()
    assert second.at == clock.now_s
    clock.now_s -= 3600
    assert recent.read() is not second


def test_bounds_of_another_sender(store: EmbeddedStore, clock: Clock) -> None:
    """A histogram without the threshold among its bounds counts for nothing: never a guess."""
    clock.now_s = moment(OUTAGE)
    odd = Objective.model_construct(
        **{**LATENCY.model_dump(exclude={"description"}), "threshold": 1.2},
        description=LATENCY.description,
    )
    assert burn.counts(store.metrics, odd, Window.last(3600.0, moment(OUTAGE))) == Counts()
