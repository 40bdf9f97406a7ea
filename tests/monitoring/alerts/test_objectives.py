"""monitoring.alerts.objectives: slo.yaml, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.alerts import burn_rules
from monitoring.alerts.objectives import OBJECTIVES_MAX, SHIPPED, read
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from tests.servers import damoscope

DESCRIPTION = {"en": "Answers come.", "zh": "有应答。"}
AVAILABLE = {"name": "Up", "sli": "availability", "target": 0.99, "description": DESCRIPTION}
QUICK = {**AVAILABLE, "name": "Quick", "sli": "latency", "threshold": "1.5s"}


def written(folder: Path, *objectives: object) -> Path:
    path = folder / "slo.yaml"
    path.write_text(yaml.safe_dump({"objectives": list(objectives)}, allow_unicode=True))
    return path


def test_what_ships_can_be_read() -> None:
    """One objective of each sort, which count only with enough requests."""
    found = read(None)
    assert [each.sli for each in found] == ["availability", "latency"]
    assert all(each.at_least >= 20 and each.at_least_bad >= 5 for each in found)
    assert all(each.window == 28 * 86400 for each in found)


def test_defaults(tmp_path: Path) -> None:
    """28 days; 0.99 leaves a hundredth, without the error of a subtraction of floats."""
    up, quick = read(written(tmp_path, AVAILABLE, QUICK))
    assert (up.window, up.budget, up.at_least, up.at_least_bad) == (28 * 86400, 0.01, 20, 5)
    assert quick.threshold == 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 1}, "objective Up: target: input should be less than or equal to 0.9999"),
        ({"target": 99.5}, "target: input should be less"),
        ({"target": ".nan"}, "target: input should be"),
        ({"window": "7d"}, "window: take 28d .* or 30d"),
        ({"window": "a month"}, "window: write a length of time like"),
        ({"threshold": "1s"}, "threshold: availability has none"),
        ({"sli": "latency"}, "threshold: say within what time an answer is good"),
        ({"sli": "latency", "threshold": "1.2s"}, "1.2s cannot be counted .* take 1s or 1.5s"),
        ({"sli": "latency", "threshold": "2m"}, "120s cannot be counted .* take 60s$"),
        ({"sli": "latency", "threshold": 0}, "take 0.0005s$"),
        ({"sli": "speed"}, "sli: input should be 'availability' or 'latency'"),
        ({"name": "a b"}, "name: string should match"),
        ({"at_least": 0}, "at_least: input should be greater"),
        ({"at_least_bad": 0}, "at_least_bad: input should be greater"),
        ({"goal": 1}, "goal: extra inputs are not permitted"),
        ({"description": {"en": "x"}}, "description: zh: field required"),
        ({"description": "x"}, "description: input should be"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """File, objective, field, and what to write instead."""
    with pytest.raises(ConfigurationError, match=message) as error:
        read(written(tmp_path, {**AVAILABLE, **change}))
    assert str(tmp_path / "slo.yaml") in str(error.value)


def test_two_of_one_name_and_too_many(tmp_path: Path) -> None:
    """Names are the alerts' names; pages and Prometheus hold so many and no more."""
    with pytest.raises(ConfigurationError, match="Up: two objectives of one name"):
        read(written(tmp_path, AVAILABLE, AVAILABLE))
    many = [{**AVAILABLE, "name": f"Up{i}"} for i in range(OBJECTIVES_MAX + 1)]
    with pytest.raises(ConfigurationError, match=f"at most {OBJECTIVES_MAX} items"):
        read(written(tmp_path, *many))


@pytest.mark.parametrize(
    "text",
    ["objectives: 5", "5", "", "objectives: [1]", "a: [", "rules: []", "[" * 3000 + "]" * 3000],
    ids=lambda text: text[:15],
)
def test_what_is_no_such_file(tmp_path: Path, text: str) -> None:
    """Whatever else a file holds is refused in a sentence, too."""
    path = tmp_path / "slo.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"slo\.yaml: "):
        read(path)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(ConfigurationError, match=r"none\.yaml: objectives cannot be read"):
        read(tmp_path / "none.yaml")


def test_the_rules_of_objectives(tmp_path: Path) -> None:
    """Three alerts of an objective, after the alert rules; only those that can ever fire where
    much may be bad; and none without objectives."""
    wide = {**AVAILABLE, "name": "Wide", "target": 0.8}
    rules = burn_rules.every(Settings(slo=written(tmp_path, AVAILABLE, wide)))
    names = [rule.name for rule in rules.rules if "Burn" in rule.name]
    assert names == ["UpBurn1h", "UpBurn6h", "UpBurn3d", "WideBurn3d"]
    assert names == [rule.name for rule in rules.rules[-4:]]
    by_name = {rule.name: rule for rule in rules.rules}
    found = {name: (by_name[name].threshold, by_name[name].severity) for name in names[:3]}
    assert found == {
        "UpBurn1h": (14.4, "critical"), "UpBurn6h": (6, "critical"), "UpBurn3d": (1, "warning"),
    }  # fmt: skip
    assert burn_rules.of(read(written(tmp_path))) == []


def test_an_alert_rule_of_the_same_name(tmp_path: Path) -> None:
    """States and silences go by names: two rules of one are refused, and which is said."""
    rule = {
        "name": "UpBurn6h", "metric": "workers_ready", "comparison": "<", "threshold": 1,
        "severity": "info", "message": DESCRIPTION,
    }  # fmt: skip
    alerts = tmp_path / "alerts.yaml"
    alerts.write_text(yaml.safe_dump({"rules": [rule]}, allow_unicode=True))
    with pytest.raises(ConfigurationError, match=r"UpBurn6h: .* have the same name"):
        burn_rules.every(Settings(alerts=alerts, slo=written(tmp_path, AVAILABLE)))


def test_the_shipped_file_is_where_it_is_said_to_be() -> None:
    """Beside the alert rules."""
    assert SHIPPED.name == "slo.yaml"
    assert SHIPPED.parent.name == "alerts"


def test_check_and_render_on_the_command_line(tmp_path: Path) -> None:
    """`damoscope slo check` says when each objective raises an alert, `render` writes the rules; a
    wrong file is one line and exit code 2."""
    env = {"DAMOSCOPE_SLO": str(written(tmp_path, QUICK))}
    good = damoscope("slo", "check", folder=tmp_path, **env)
    assert good.returncode == 0, good.stderr
    assert "Quick: 99 % within 1500ms over 28d\n  critical burn rate > 14.4 over 1h and 5m" in (
        good.stdout
    )
    made = damoscope("slo", "render", "-o", "out.yml", folder=tmp_path, **env)
    assert made.returncode == 0, made.stderr
    rules = yaml.safe_load((tmp_path / "out.yml").read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules if "alert" in rule] == [
        "QuickBurn1h", "QuickBurn6h", "QuickBurn3d",
    ]  # fmt: skip
    written(tmp_path, {**QUICK, "threshold": "1.2s"})
    bad = damoscope("slo", "check", folder=tmp_path, **env)
    assert bad.returncode == 2
    (line,) = bad.stderr.splitlines()
    assert line.endswith("take 1s or 1.5s")
