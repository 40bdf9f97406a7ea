"""monitoring.alerts.prometheus and .overview: states as a real Prometheus has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from monitoring.alerts.ledger import Ledger
from monitoring.alerts.overview import overview
from monitoring.alerts.render import render
from monitoring.alerts.rules import Rules, read
from monitoring.alerts.schema import Alert, Alerts
from tests.monitoring.conftest import program, running
from tests.servers import RedisProcess, eventually, free_port

pytestmark = pytest.mark.stack

TEXT = {"en": "{value} frontends, {threshold} wanted", "zh": "{value} 个前端"}


def rule(name: str, threshold: int, **more: object) -> dict[str, object]:
    return {"name": name, "metric": "frontends_reporting", "comparison": "<",
            "threshold": threshold, "severity": "warning", "message": TEXT, **more}  # fmt: skip


#: Nobody reports to this Prometheus: there are 0 frontends.
RULES = {
    "rules": [
        rule("Fires", 1), rule("Waits", 1, **{"for": "1h"}), rule("Quiet", 0),
    ]
}  # fmt: skip
FOREIGN = """
groups:
  - name: foreign
    rules:
      - alert: Foreign
        expr: vector(5) > 3
        labels: { severity: critical }
        annotations: { summary: "five is {{ $value }}" }
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    path = tmp_path_factory.mktemp("rules") / "alerts.yaml"
    path.write_text(yaml.safe_dump(RULES, allow_unicode=True))
    return read(path)


@pytest.fixture(scope="module")
def url(rules: Rules, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with these rules rendered, and one of its own."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "ours.yml").write_text(render(rules), encoding="utf-8")
    (folder / "foreign.yml").write_text(FOREIGN)
    (folder / "prometheus.yml").write_text(
        "global: { evaluation_interval: 1s }\nrule_files: [ours.yml, foreign.yml]\n"
    )
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus"), "--config.file=prometheus.yml",
               f"--web.listen-address={address}"]  # fmt: skip
    with running(command, folder, f"http://{address}/-/ready"):
        yield f"http://{address}"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with RedisProcess(tmp_path / "redis") as server:
        yield Ledger(server.client)


def test_states(rules: Rules, url: str, ledger: Ledger) -> None:
    """Firing, pending and inactive, with values, times and our own words; Prometheus' own rules
    in its words; the most pressing first."""

    def look() -> Alerts | None:
        found = overview(rules, ledger, url, [])
        states = [alert.state for alert in found.alerts]
        return found if states == ["firing", "firing", "pending", "inactive"] else None

    found = eventually(look, "Prometheus to evaluate the rules")
    assert found is not None
    assert (found.source, found.problem) == ("prometheus", "")
    assert found.evaluated_at == pytest.approx(time.time(), abs=300)
    assert [(alert.name, alert.state) for alert in found.alerts] == [
        ("Foreign", "firing"), ("Fires", "firing"), ("Waits", "pending"), ("Quiet", "inactive"),
    ]  # fmt: skip
    by_name: dict[str, Alert] = {alert.name: alert for alert in found.alerts}
    foreign, fires, waits = by_name["Foreign"], by_name["Fires"], by_name["Waits"]
    assert (foreign.metric, foreign.value, foreign.message.en) == ("", 5, "five is 5")
    assert foreign.severity == "critical"
    assert (fires.value, fires.message.en) == (0, "0 frontends, 1 wanted")
    assert waits.for_s == 3600
    assert waits.since_at == pytest.approx(time.time(), abs=300)
    assert (by_name["Quiet"].value, by_name["Quiet"].since_at) == (None, None)
