"""Success and utilisation are the same number in cards, plots, alerts, reports and PromQL.

Two hours of one service, with requests of every outcome, go to the embedded store and to a real
Prometheus; there also by the rules that Grafana's dashboard reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
import yaml

from monitoring.alerts.figures import FIGURES
from monitoring.alerts.measures import Asked
from monitoring.alerts.render import RECORDS, render
from monitoring.alerts.rules import SHIPPED, read
from monitoring.figures.plots import plots
from monitoring.figures.stats import Stats, stats
from monitoring.reports.build import build
from monitoring.reports.schema import Report
from monitoring.stores.contract import MetricsStore
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from pipeline.settings import Settings
from telemetry import catalogue
from telemetry.outcomes import OUTCOMES, success_rate
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.scenario import Scenario
from tests.paths import ROOT

STEP_S = 15
#: Requests of each step, by outcome: half of those that count succeed.
EACH = {"ok": 6, "invalid": 5, "rejected": 1, "failed": 2, "timeout": 3, "cancelled": 7}
#: Two workers, busy 0.8 of each second together, 0.1 s for an image.
WORKERS, BUSY_S, IMAGE_S = {"busy": 1, "idle": 1}, 0.8, 0.1
SUCCESS, UTILISATION, PER_WORKER = 0.5, 0.4, 10.0
#: Sampling cuts a window's edges.
NEARLY = 0.02


@pytest.fixture(scope="module")
def told() -> Scenario:
    told = Scenario()
    for i in range(2 * 3600 // STEP_S):
        at = NOW_S - 2 * 3600 + STEP_S * i + 7
        for outcome, count in EACH.items():
            told.counter(
                "one", catalogue.REQUESTS, at, count * (i + 1), outcome=outcome, route="api"
            )
        busy_s = BUSY_S * STEP_S * (i + 1)
        told.counter("one", catalogue.WORKER_BUSY, at, busy_s, provider="cpu")
        told.histogram("one", catalogue.BATCH_SIZE, at, [1.0] * round(busy_s / IMAGE_S))
        for state, count in WORKERS.items():
            told.gauge("one", catalogue.WORKERS, at, count, state=state)
    return told


@pytest.fixture(scope="module")
def embedded(told: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path_factory.mktemp("store") / "telemetry.db", clock=Clock(NOW_S))
    told.feed(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def prometheus_url(told: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with told.prometheus(tmp_path_factory.mktemp("prometheus")) as url:
        yield url


@pytest.fixture(params=["embedded", pytest.param("prometheus", marks=pytest.mark.stack)])
def metrics(request: pytest.FixtureRequest, embedded: EmbeddedStore) -> Iterator[MetricsStore]:
    if request.param == "embedded":
        yield embedded.metrics
        return
    store = PrometheusMetrics(request.getfixturevalue("prometheus_url"), Clock(NOW_S))
    yield store
    store.close()


@pytest.fixture
def report(metrics: MetricsStore, embedded: EmbeddedStore) -> Report:
    return build(metrics, embedded.traces, None, Settings(), 1, NOW_S)


@pytest.fixture
def page(metrics: MetricsStore) -> Stats:
    return stats(metrics, 3600, NOW_S)


def card(page: Stats, name: str) -> float | None:
    return next(card.value for card in page.cards if card.name == name)


def test_the_scenario_has_every_outcome() -> None:
    """So that none of them can be counted differently unseen."""
    assert set(EACH) == set(OUTCOMES)
    assert success_rate(EACH) == SUCCESS


def test_success(metrics: MetricsStore, page: Stats, report: Report) -> None:
    """The card and its course, the API, both alert figures, the report and its rating."""
    alert = {
        name: FIGURES[name].measure(metrics, Asked(600.0), NOW_S)
        for name in ("success_rate", "failure_rate")
    }
    rated = next(each for each in report.rating.criteria if each.name == "success")
    course = next(card.sparkline for card in page.cards if card.name == "success_rate")
    assert page.success_rate == card(page, "success_rate") == SUCCESS
    assert set(course) - {None} == {SUCCESS}
    assert alert == {"success_rate": SUCCESS, "failure_rate": 1 - SUCCESS}
    assert report.figure("success_rate").value == rated.value == SUCCESS


def test_requests_count_for_at_least(metrics: MetricsStore) -> None:
    """A rule's `at_least` counts the requests that success is a share of, and no others."""
    counted = EACH["ok"] + EACH["rejected"] + EACH["failed"] + EACH["timeout"]
    figure, steps = FIGURES["success_rate"], 600 // STEP_S
    enough, too_few = (
        Asked(600.0, at_least=counted * steps),
        Asked(600.0, at_least=counted * steps + 1),
    )
    assert figure.measure(metrics, enough, NOW_S) == SUCCESS
    assert figure.measure(metrics, too_few, NOW_S) is None


def test_utilisation(metrics: MetricsStore, page: Stats, report: Report) -> None:
    """The capacity panel, the plot, the alert figure and the report."""
    alert = FIGURES["utilisation"].measure(metrics, Asked(600.0), NOW_S)
    course = [share for share in plots(metrics, 3600, 300, NOW_S).utilisation if share is not None]
    shown = [page.capacity.utilisation, alert, report.workers.utilisation, *course]
    assert shown == pytest.approx([UTILISATION] * len(shown), rel=NEARLY)


def test_capacity(page: Stats, report: Report) -> None:
    """One worker holds the same for the page and the report."""
    assert page.capacity.per_worker_per_s == pytest.approx(PER_WORKER)
    assert report.workers.per_worker_per_s == pytest.approx(PER_WORKER)


def asked(url: str, query: str) -> float:
    answer = httpx.post(f"{url}/api/v1/query", data={"query": query, "time": str(NOW_S)}).json()
    (row,) = answer["data"]["result"]
    return float(row["value"][1])


@pytest.mark.stack
def test_rules_of_prometheus(prometheus_url: str) -> None:
    """What the rules record is what the pages show."""
    path = ROOT / "deploy" / "prometheus" / "rules" / "figures.yml"
    (group,) = yaml.safe_load(path.read_text())["groups"]
    found = {rule["record"]: asked(prometheus_url, rule["expr"]) for rule in group["rules"]}
    expected = {"success_rate": SUCCESS, "utilisation": UTILISATION}
    assert set(found) == set(RECORDS)
    for record, value in found.items():
        assert value == pytest.approx(expected[RECORDS[record][0]], rel=NEARLY), record


@pytest.mark.stack
def test_the_rendered_alert(prometheus_url: str) -> None:
    """The rule's expression has the very number, and fires on it."""
    rules = yaml.safe_load(render(read(SHIPPED)))
    (rule,) = (rule for rule in rules["groups"][0]["rules"] if rule["alert"] == "SuccessRateLow")
    assert asked(prometheus_url, rule["expr"]) == SUCCESS


def test_the_dashboard_reads_these_rules() -> None:
    """Grafana has no formula of its own for either: it shows what is recorded."""
    path = ROOT / "deploy" / "grafana" / "dashboards" / "damoscope.json"
    shown = {
        panel["title"]: {target["expr"] for target in panel["targets"]}
        for panel in json.loads(path.read_text())["panels"]
        if panel["title"] in ("Success rate", "Utilisation")
    }
    success, utilisation = RECORDS
    assert shown == {"Success rate": {success}, "Utilisation": {utilisation}}
