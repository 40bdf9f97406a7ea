"""monitoring.alerts.rules: alerts.yaml, read and checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.alerts.figures import FIGURES, RuleFigure
from monitoring.alerts.measures import Asked
from monitoring.alerts.rules import Rule, read
from monitoring.alerts.units import shown
from pipeline.errors import ConfigurationError
from telemetry import catalogue
from telemetry.catalogue import METRICS
from tests.paths import ROOT
from tests.servers import damoscope

TEXT = {"en": "{value} > {threshold}", "zh": "{value}，超过 {threshold}"}
QPS: dict[str, Any] = {
    "name": "Busy", "metric": "qps", "window": "1m", "comparison": ">", "threshold": 50,
    "for": "2m", "severity": "warning", "message": TEXT,
}  # fmt: skip

PROMETHEUS = ROOT / "deploy" / "prometheus"


def write(folder: Path, *rules: object, **more: object) -> Path:
    path = folder / "alerts.yaml"
    path.write_text(yaml.safe_dump({"rules": list(rules), **more}, allow_unicode=True))
    return path


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in QPS.items() if key != name}


def test_reads_a_rule(tmp_path: Path) -> None:
    """Lengths of time are seconds; texts are filled in with units."""
    rules = read(write(tmp_path, QPS, cooldown="5m"))
    (rule,) = rules.rules
    assert (rules.cooldown, rule.window, rule.for_s) == (300, 60, 120)
    assert rule.text(rule.message, 61.25).en == "61.2/s > 50/s"
    assert rule.text(rule.message, None).zh == "–，超过 50/s"
    assert rule.holds(50.1)
    assert not rule.holds(50)
    assert not rule.holds(None)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (without("threshold"), "rule Busy: threshold: field required"),
        (without("window"), "rule Busy: window: qps is taken over a window, such as 5m"),
        ({**QPS, "window": "1 minute"}, "rule Busy: window: write a length of time like 30s"),
        ({**QPS, "window": "7s"}, "rule Busy: window: take a multiple of 10s"),
        ({**QPS, "window": "1d"}, "rule Busy: window: take a multiple of 10s, 6h at most"),
        ({**QPS, "metric": "qpm"}, "rule Busy: metric: qpm is unknown; there are qps, "),
        ({**QPS, "comparison": "="}, "rule Busy: comparison: "),
        ({**QPS, "threshold": float("nan")}, "rule Busy: threshold: "),
        ({**QPS, "severity": "loud"}, "rule Busy: severity: "),
        ({**QPS, "fro": "2m"}, "rule Busy: fro: extra inputs are not permitted"),
        ({**QPS, "where": {"stage": "nms"}}, "rule Busy: where: qps has no stage; it has route"),
        ({**QPS, "where": {"route": "ap"}}, "rule Busy: where: route is never ap; it is api, ui"),
        ({**QPS, "at_least": 5}, "rule Busy: at_least: qps is not taken from images"),
        ({**QPS, "message": {"en": "x"}}, "rule Busy: message: zh: field required"),
        ({**QPS, "message": {**TEXT, "en": "{velue}"}}, "rule Busy: message: en: {velue}: only"),
        ({**QPS, "message": {**TEXT, "en": "{value"}}, "rule Busy: message: en: "),
        ({**QPS, "metric": "queue_age_s"}, "rule Busy: window: queue_age_s is a figure of the mo"),
        (without("name"), "rule number 1: name: field required"),
        ("Busy", "rule number 1: input should be"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, rule: object, complaint: str) -> None:
    """A rule that cannot be used is one clear line with file, rule and field."""
    path = write(tmp_path, rule)
    with pytest.raises(ConfigurationError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}: {complaint}"), refused.value
    assert "\n" not in str(refused.value)


def test_files_that_are_no_rules(tmp_path: Path) -> None:
    """No file, no YAML, nothing in it, and a name twice are refused as clearly."""
    with pytest.raises(ConfigurationError, match=r"none\.yaml: alert rules cannot be read"):
        read(tmp_path / "none.yaml")
    path = tmp_path / "alerts.yaml"
    for text, complaint in (("rules: [", "not YAML"), ("", "input should be"), ("[]", "input")):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=complaint):
            read(path)
    with pytest.raises(ConfigurationError, match="rules: Busy: two rules of one name"):
        read(write(tmp_path, QPS, QPS))


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_figures_are_narrowed_by_what_their_metric_has(figure: RuleFigure) -> None:
    """A rule can ask only for attributes that the catalogue gives the figure's metric."""
    assert METRICS[figure.metric.name] is figure.metric
    assert set(figure.attributes) <= set(figure.metric.attributes)


def test_the_founding_five_and_the_rest() -> None:
    """The file that ships has the founding rules with their thresholds, and one for each stage."""
    rules = read(ROOT / "monitoring" / "alerts" / "alerts.yaml")
    found = {(rule.metric, rule.comparison, rule.threshold) for rule in rules.rules}
    assert {
        ("qps", ">", 50), ("latency_mean_s", ">", 1), ("success_rate", "<", 0.95),
        ("memory", ">", 0.8), ("cpu", ">", 0.9),
    } <= found  # fmt: skip
    stages = [rule.where["stage"] for rule in rules.rules if rule.metric == "stage_p95_s"]
    assert stages == list(catalogue.STAGES)
    assert {"traffic_share", "workers_ready", "queue_age_growth_s", "workers_fallback",
            "frontends_reporting"} <= {rule.metric for rule in rules.rules}  # fmt: skip
    for rule in rules.rules:
        for text in (rule.message, rule.action):
            assert text is not None
            assert text.en.endswith(".")
            assert text.zh.endswith("。")
            # A space between Chinese and Latin or a number, as everywhere in the pages.
            shown_zh = rule.text(text, 0.5).zh
            assert not re.search(r"[一-鿿][A-Za-z0-9]|[A-Za-z0-9%][一-鿿]", shown_zh), shown_zh


def test_promtool_tests_every_rule() -> None:
    """For each rule there is a test in which it fires, and one moment before and after."""
    tests = yaml.safe_load(
        (ROOT / "deploy" / "prometheus" / "tests" / "alerts.test.yml").read_text()
    )
    for rule in read(ROOT / "monitoring" / "alerts" / "alerts.yaml").rules:
        cases = [
            bool(case.get("exp_alerts"))
            for test in tests["tests"]
            if test["name"] == rule.name
            for case in test["alert_rule_test"]
        ]
        assert cases == [False, True, False], rule.name


def test_every_figure_is_documented() -> None:
    """docs/alerts.md has each figure with its unit, and each field of a rule."""
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    for name, figure in FIGURES.items():
        assert f"| `{name}` | {figure.unit}".strip() + " |" in page, name
    for name, field in Rule.model_fields.items():
        assert f"| `{field.alias or name}` |" in page, name


@pytest.mark.parametrize(
    ("window", "held", "last_s"),
    [
        ("5m", "1m", 30), ("5m", "5m", 150), ("5m", "50s", 20), ("5m", "10s", 10), ("5m", "5s", 10),
        # All of the window; nothing that lasts is wanted.
        ("1m", "2m", None), ("10s", "5s", None), ("5m", "0s", None),
    ],
)  # fmt: skip
def test_the_last_part_of_a_window(window: str, held: str, last_s: float | None) -> None:
    """Half of `for`, in steps of 10 s: the figure over it, from as many images, counts as well."""
    rule = Rule.model_validate(
        QPS | {"metric": "success_rate", "window": window, "for": held, "at_least": 7,
               "where": {"route": "api"}}
    )  # fmt: skip
    if last_s is None:
        assert rule.recently is None
    else:
        assert rule.recently == Asked(last_s, {"route": "api"}, 7, of_s=rule.window)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9512, "ratio", "95.1 %"), (1.0, "ratio", "100 %"), (1.5, "ratio", "150 %"),
        (0, "ratio", "0 %"), (0.1234, "s", "123 ms"), (0.0005, "s", "0.5 ms"), (0, "s", "0 s"),
        (1.475, "s", "1.48 s"), (119.6, "s", "120 s"), (185, "s", "3 min 5 s"),
        (300, "s", "5 min"), (7260, "s", "2 h 1 min"), (12, "", "12"), (61.25, "1/s", "61.2/s"),
        (1234.5, "1/s", "1234/s"), (-6.0, "s", "-6 s"), (None, "s", "–"),
        (float("nan"), "", "–"),
    ],
)  # fmt: skip
def test_values_as_people_read_them(value: float | None, unit: str, text: str) -> None:
    """Each value in the unit that reads best."""
    assert shown(value, unit) == text


def test_check_and_render_on_the_command_line(tmp_path: Path) -> None:
    """`damoscope alerts check` names every rule; a wrong file is one line and exit code 2."""
    path = write(tmp_path, QPS)
    good = damoscope("alerts", "check", folder=tmp_path, DAMOSCOPE_ALERTS=str(path))
    assert good.returncode == 0, good.stderr
    assert "Busy: qps over 1m > 50/s for 2m" in good.stdout
    made = damoscope(
        "alerts", "render", "-o", "out.yml", folder=tmp_path, DAMOSCOPE_ALERTS=str(path)
    )
    assert made.returncode == 0, made.stderr
    assert yaml.safe_load((tmp_path / "out.yml").read_text())["groups"][0]["rules"]
    write(tmp_path, without("threshold"))
    bad = damoscope("alerts", "check", folder=tmp_path, DAMOSCOPE_ALERTS=str(path))
    assert bad.returncode == 2
    (line,) = bad.stderr.splitlines()
    assert line.endswith("rule Busy: threshold: field required")
